"""The limits that all sessions share: connections, messages and recipients in a time."""

import time
from collections.abc import Callable, Hashable

from mailsvc.config.settings import LimitSettings
from mailsvc.errors import MailError
from mailsvc.model.account import Account
from mailsvc.model.status import Status
from mailsvc.policy.crowd import Crowd, Leave, nothing
from mailsvc.policy.limits import Throttle, in_words, is_exempt, network_of, with_rate


class TooMuchMail(MailError):
    """The messages of a time are used up; RFC 3463 section 3.8."""

    status = Status(4, 7, 1)


class TooManyRecipients(TooMuchMail):
    """The recipients of a time are used up; those before this one are accepted."""


class Limits:
    """
    What one client and one login may do, over all listeners together; made once.

    Args:
        settings: Section ``limits`` of config.yaml.
        seconds: Tells the time; only differences count.
    """

    __slots__ = (
        "_client_messages",
        "_client_recipients",
        "_crowd",
        "_exempt",
        "_login_messages",
        "_login_recipients",
        "_seconds",
    )

    def __init__(
        self, settings: LimitSettings, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._exempt = settings.exempt
        self._crowd = Crowd(settings.client_connections, settings.client_connection_rate)
        self._client_messages = with_rate(None, settings.client_messages)
        self._client_recipients = with_rate(None, settings.client_recipients)
        self._login_messages = with_rate(None, settings.login_messages)
        self._login_recipients = with_rate(None, settings.login_recipients)

    def use(self, settings: LimitSettings) -> None:
        """Hold to other limits from now on; a rate that stays goes on counting."""
        self._exempt = settings.exempt
        self._crowd.use(settings.client_connections, settings.client_connection_rate)
        self._client_messages = with_rate(self._client_messages, settings.client_messages)
        self._client_recipients = with_rate(self._client_recipients, settings.client_recipients)
        self._login_messages = with_rate(self._login_messages, settings.login_messages)
        self._login_recipients = with_rate(self._login_recipients, settings.login_recipients)

    def exempts(self, ip: str) -> bool:
        """Tell whether a client is spared the limits of clients."""
        return is_exempt(ip, self._exempt)

    def enter(self, ip: str) -> Leave | None:
        """
        Count a connection whose client is known now.

        Returns:
            What must be called once at its end; None: the client has too many.
        """
        return nothing if self.exempts(ip) else self._crowd.enter(ip, self._seconds())

    def take_message(self, ip: str | None, login: Account | None) -> None:
        """
        Count a message that begins.

        Args:
            ip: Its client; None: not counted.
            login: Who sends it; None: nobody of ours.

        Raises:
            TooMuchMail: Not now; the text says when.
        """
        if login is not None:
            self._take(self._login_messages, login.id, TooMuchMail, "messages from your account")
        if ip is not None:
            client = network_of(ip)
            self._take(self._client_messages, client, TooMuchMail, "messages from your address")

    def take_recipient(self, ip: str | None, login: Account | None) -> None:
        """
        Count a recipient that is good otherwise; like ``take_message``.

        Raises:
            TooManyRecipients: Not now; the text says when.
        """
        error = TooManyRecipients
        if login is not None:
            self._take(self._login_recipients, login.id, error, "recipients from your account")
        if ip is not None:
            client = network_of(ip)
            self._take(self._client_recipients, client, error, "recipients from your address")

    def _take(
        self, throttle: Throttle | None, key: Hashable, error: type[TooMuchMail], what: str
    ) -> None:
        if throttle is None:
            return
        now = self._seconds()
        if not throttle.take(key, now):
            wait = in_words(throttle.wait(key, now))
            raise error(f"Too many {what}; slow down, the next one may come in {wait}")
