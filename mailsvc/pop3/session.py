"""The state of one POP3 connection; it knows no socket."""

from collections.abc import Callable
from typing import cast

from twisted.cred.portal import Portal
from twisted.logger import Logger
from twisted.mail import pop3

from mailsvc.auth.credentials import ClientPassword
from mailsvc.config.settings import Settings, WithoutTls
from mailsvc.model.account import Scope
from mailsvc.model.channel import PLAIN_TEXT, Channel
from mailsvc.model.envelope import Client
from mailsvc.pop3.maildrop import Maildrop


def shown(user: bytes) -> str:
    """Write a name, whatever its octets are, for the log."""
    return user.decode("utf-8", "backslashreplace")


class Session:
    """
    One client from its greeting to its good-bye; RFC 1939 section 3.

    Args:
        portal: Where users log in.
        settings: What is allowed.
        client: Who is there.
        channel: What the client talks over.
        stls: Whether the listener offers STLS.
        end: Ends the connection when another session may have the maildrop.
    """

    __slots__ = (
        "_end",
        "_leave",
        "_portal",
        "channel",
        "client",
        "errors",
        "failures",
        "maildrop_lost",
        "open_maildrop",
        "removed",
        "sent",
        "settings",
        "stls",
        "user",
        "waiting_user",
    )

    _log = Logger()

    def __init__(
        self,
        portal: Portal,
        settings: Settings,
        client: Client,
        channel: Channel = PLAIN_TEXT,
        *,
        stls: bool = False,
        end: Callable[[], None],
    ) -> None:
        self._portal = portal
        self._end = end
        self._leave: Callable[[], None] | None = None
        self.settings = settings
        self.client = client
        self.channel = channel
        """TLS or not, and what binds a login to it."""
        self.stls = stls
        """Whether the listener offers STLS."""
        self.waiting_user: bytes | None = None
        """Who said USER and has not yet said PASS."""
        self.user: str | None = None
        """Who has logged in, as the client wrote it; for the log."""
        self.open_maildrop: Maildrop | None = None
        """None in the AUTHORIZATION state, the user's in the TRANSACTION state."""
        self.maildrop_lost = False
        self.failures = 0
        """Failed logins."""
        self.errors = 0
        """Wrong commands since the last right one."""
        self.sent = 0
        """Messages that the client has fetched."""
        self.removed = 0
        """Messages that QUIT has removed."""

    @property
    def maildrop(self) -> Maildrop:
        """The user's maildrop; commands of the TRANSACTION state only."""
        if self.open_maildrop is None:
            raise RuntimeError("nobody has logged in")
        return self.open_maildrop

    @property
    def secure(self) -> bool:
        """Whether nobody can listen: TLS."""
        return self.channel.secure

    def begin_again(self, channel: Channel) -> None:
        """Forget what was said before TLS: anybody may have said it; RFC 2595 section 4."""
        self.channel = channel
        self.waiting_user = None

    @property
    def may_log_in(self) -> bool:
        """Whether a password may come over this connection; RFC 8314 section 3."""
        without_tls = self.settings.login.without_tls
        return (
            self.secure
            or without_tls is WithoutTls.ALWAYS
            or (without_tls is WithoutTls.LOOPBACK and self.client.on_this_machine)
        )

    async def log_in(self, user: bytes, password: bytes) -> None:
        """
        Enter the TRANSACTION state.

        Raises:
            Unauthorized: Wrong, or not allowed here.
            MailError: The maildrop cannot be opened now.
        """
        credentials = ClientPassword(user, password, self.client, Scope.POP3)
        _, maildrop, leave = await self._portal.login(credentials, self.client, pop3.IMailbox)
        self.open_maildrop, self._leave = cast("Maildrop", maildrop), leave
        self.open_maildrop.held.on_lost = self._lose_maildrop
        self.user = shown(user)
        self._log.info("login of {user!r} from {client}", user=self.user, client=self.client.ip)

    def leave(self) -> None:
        """Let the maildrop go, without removing anything; harmless the second time."""
        if self._leave is not None:
            self._leave()
            self._leave = None

    def _lose_maildrop(self) -> None:
        self.maildrop_lost = True
        self._end()
