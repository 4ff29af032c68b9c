"""The state of one POP3 connection; it knows no socket."""

from collections.abc import Awaitable, Callable, Sequence

from twisted.mail import pop3

from mailsvc.auth.sasl import LONGEST_RESPONSE
from mailsvc.config.settings import Settings, Utf8Headers
from mailsvc.interfaces import IAuthenticator, IExchange
from mailsvc.model.channel import PLAIN_TEXT, Channel
from mailsvc.model.envelope import Client
from mailsvc.model.login import LONGEST_PASSWORD
from mailsvc.model.story import Handling
from mailsvc.policy.limits import is_exempt
from mailsvc.policy.relay import may_log_in
from mailsvc.pop3.languages import ENGLISH, Language
from mailsvc.pop3.maildrop import Maildrop
from mailsvc.pop3.replies import Reply

LONGEST_LINE = 255
"""Octets of a command, CRLF included; RFC 2449 section 4."""
_LONGEST_PASS = LONGEST_PASSWORD + len(b"PASS \r\n")
_PATIENT_UNTIL = 2
"""Wrong commands in a row that are answered at once: anybody may mistype."""


ShortestKeep = Callable[[], Awaitable[int | None]]


async def never() -> int | None:
    """Tell that all mail stays."""
    return None


class Session:
    """
    One client from its greeting to its good-bye; RFC 1939 section 3.

    Args:
        authenticator: Where users log in.
        settings: What is allowed.
        client: Who is there.
        channel: What the client talks over.
        stls: Whether the listener offers STLS.
        shortest_keep: Tells the fewest days that any user's mail stays; None: for ever.
        handled: Takes down what is fetched and removed.
        end: Ends the connection when another session may have the maildrop.
    """

    __slots__ = (
        "_authenticator",
        "_end",
        "_handled",
        "_leave",
        "_who",
        "awaiting",
        "channel",
        "client",
        "errors",
        "failures",
        "language",
        "maildrop_lost",
        "open_maildrop",
        "removed",
        "sent",
        "settings",
        "shortest_keep",
        "stls",
        "user",
        "utf8",
        "waiting_user",
    )

    def __init__(
        self,
        authenticator: IAuthenticator,
        settings: Settings,
        client: Client,
        channel: Channel = PLAIN_TEXT,
        *,
        stls: bool = False,
        shortest_keep: ShortestKeep = never,
        handled: Callable[[Handling], object] = lambda _: None,
        end: Callable[[], None],
    ) -> None:
        self._authenticator = authenticator
        self._end = end
        self._leave: Callable[[], None] | None = None
        self.settings = settings
        self.client = client
        self.channel = channel
        """TLS or not, and what binds a login to it."""
        self.shortest_keep = shortest_keep
        self._handled = handled
        self.stls = stls
        """Whether the listener offers STLS."""
        self.language: Language = ENGLISH
        """What people are told things in."""
        self.utf8 = False
        """Whether the client has said UTF8; RFC 6856 section 2."""
        self.awaiting: Callable[[Session, bytes], Awaitable[Reply]] | None = None
        """What takes the next line, which is no command; only in a login."""
        self.waiting_user: bytes | None = None
        """Who said USER and has not yet said PASS."""
        self.user: str | None = None
        """Who has logged in, with the domain; for the log."""
        self.open_maildrop: Maildrop | None = None
        """None in the AUTHORIZATION state, the user's in the TRANSACTION state."""
        self.maildrop_lost = False
        self.failures = self.errors = 0
        """Failed logins, and wrong commands since the last right one."""
        self.sent = self.removed = 0
        """Messages that the client has fetched, and that QUIT has removed."""

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

    @property
    def offers_stls(self) -> bool:
        """Whether STLS would be agreed to now."""
        return self.stls and not self.secure and self.open_maildrop is None

    @property
    def may_log_in(self) -> bool:
        """Whether a password may come over this connection; RFC 8314 section 3."""
        return may_log_in(self.client, self.settings.login.without_tls, secure=self.secure)

    @property
    def mechanisms(self) -> Sequence[bytes]:
        """The SASL mechanisms of this connection, strongest first."""
        return [name.encode("ascii") for name in self._authenticator.mechanisms(self.channel)]

    @property
    def longest_line(self) -> int:
        """Octets of the next line, CRLF included; RFC 5034 section 4."""
        if self.awaiting is not None:
            return LONGEST_RESPONSE
        return LONGEST_LINE if self.waiting_user is None else _LONGEST_PASS

    @property
    def tries_patience(self) -> bool:
        """Whether a refusal, which is counted already, must wait in the tarpit."""
        if self.failures == 0 and self.errors <= _PATIENT_UNTIL:
            return False
        return not is_exempt(self.client.ip, self.settings.limits.exempt)

    def begin_again(self, channel: Channel) -> None:
        """Forget what was said before TLS: anybody may have said it; RFC 2595 section 4."""
        self.channel = channel
        self.waiting_user = None
        self.utf8 = False
        self.language = ENGLISH

    def begin_login(self, mechanism: str, called: str = "") -> IExchange | None:
        """Begin a login, taken down as it is *called*; None: there is no such mechanism here."""
        return self._authenticator.begin(
            mechanism, self.client, self.channel, pop3.IMailbox, called
        )

    def enter(self, user: str, maildrop: Maildrop, leave: Callable[[], None]) -> None:
        """Enter the TRANSACTION state."""
        self.user, self.open_maildrop, self._leave = user, maildrop, leave
        owner = maildrop.account
        self._who = (self.client.ip, owner.id, str(owner.address))
        self.failures = 0
        maildrop.held.on_lost = self._lose_maildrop

    @property
    def understands_all(self) -> bool:
        """Whether the client may get every message."""
        return self.utf8 or self.settings.pop3.utf8_headers is Utf8Headers.SEND

    def understands(self, start: bytes) -> bool:
        """
        Whether the client may get a message; RFC 6856 section 4.

        Deviates from RFC 6856: as set by default, it gets a header in UTF-8 also when it has
        not said UTF8. A converted one would have another size than LIST tells, no signature
        that holds and no address to reply to; what it gets is what it would have got before
        there was such a mode.

        Args:
            start: The message, at least its header; the first line of a reply may stand before it.
        """
        if self.understands_all:
            return True
        header, _, _ = (b"\r\n" + start).partition(b"\r\n\r\n")  # it may be empty
        return header.isascii()

    def note_fetched(self, message: int) -> None:
        """Take down that the client gets a message."""
        self.sent += 1
        self._handled(("retrieved", *self._who, message))

    def note_removed(self, messages: Sequence[int]) -> None:
        """Take down what QUIT has removed."""
        self.removed = len(messages)
        for message in messages:
            self._handled(("removed", *self._who, message))

    def leave(self) -> None:
        """Let the maildrop go, without removing anything; harmless the second time."""
        if self._leave is not None:
            self._leave()
            self._leave = None

    def _lose_maildrop(self) -> None:
        self.maildrop_lost = True
        self._end()
