"""The state of one POP3 connection; it knows no socket."""

from collections.abc import Callable
from typing import cast

from twisted.cred.credentials import UsernamePassword
from twisted.cred.portal import Portal
from twisted.logger import Logger
from twisted.mail import pop3

from mailsvc.config.settings import Settings, WithoutTls
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
        secure: Whether nobody can listen: TLS.
        end: Ends the connection when another session may have the maildrop.
    """

    __slots__ = (
        "_end",
        "_leave",
        "_portal",
        "client",
        "errors",
        "failures",
        "maildrop_lost",
        "open_maildrop",
        "removed",
        "secure",
        "sent",
        "settings",
        "user",
        "waiting_user",
    )

    _log = Logger()

    def __init__(
        self,
        portal: Portal,
        settings: Settings,
        client: Client,
        *,
        secure: bool,
        end: Callable[[], None],
    ) -> None:
        self._portal = portal
        self._end = end
        self._leave: Callable[[], None] | None = None
        self.settings = settings
        self.client = client
        self.secure = secure
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
        credentials = UsernamePassword(user, password)
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
