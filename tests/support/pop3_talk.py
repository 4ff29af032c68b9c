"""A POP3 server without a socket, and clients that talk to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Self, cast

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.portal import Portal
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.mail import pop3
from twisted.python.failure import Failure
from zope.interface import Interface, implementer

from mailsvc.auth.authenticator import Authenticator
from mailsvc.auth.checkers import ProofChecker, WrongPassword
from mailsvc.auth.guard import LoginGuard
from mailsvc.auth.realm import Door, MailRealm
from mailsvc.auth.sasl import KeyBook
from mailsvc.background import Background
from mailsvc.config.settings import Settings
from mailsvc.interfaces import IDirectory, IMaildrops
from mailsvc.model.account import Account, Scope, Verifier
from mailsvc.model.address import Address
from mailsvc.model.dkim import SigningKey
from mailsvc.model.ids import AccountId, CredentialId
from mailsvc.model.quota import Usage
from mailsvc.model.route import Route
from mailsvc.pop3.maildrop import MaildropDoor
from mailsvc.pop3.protocol import Pop3Factory
from tests.support.plain_passwords import ROUNDS, scram_keys
from tests.support.pop3_maildrops import MemoryMaildrops, make_account

PASSWORD = b"correct horse"
_CREDENTIAL = Verifier(CredentialId(1), "", scram_keys(PASSWORD))
"""Everybody's; the same keys for all are enough here."""


class PipeTransport:
    """One connection as Twisted shows it to a protocol."""

    disconnecting = False

    def __init__(self, client: str) -> None:
        self.writes: list[bytes] = []
        self.no_delay = False
        self.closed = False
        self.reading = True
        self.full = False
        """Whether the client has stopped to read."""
        self._peer = IPv4Address("TCP", client, 40000)
        self._producer: IPushProducer | None = None

    def write(self, data: bytes) -> None:
        """Take what the server says."""
        assert not self.closed
        self.writes.append(data)
        if self.full and self._producer is not None:
            self._producer.pauseProducing()

    def drain(self) -> None:
        """Let the client read again."""
        self.full = False
        if self._producer is not None:
            self._producer.resumeProducing()

    def loseConnection(self) -> None:
        """Close when all is written; nobody writes any more."""
        self.closed = True

    def abortConnection(self) -> None:
        """Close at once."""
        self.closed = True

    def pauseProducing(self) -> None:
        """Read no more."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Read on."""
        self.reading = True

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:  # noqa: FBT001
        """Remember whom to slow down."""
        assert streaming
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Slow nobody down."""
        self._producer = None

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: FBT001
        """Switch Nagle's algorithm off."""
        self.no_delay = enabled

    def getPeer(self) -> IPv4Address:
        """Tell the client's address."""
        return self._peer


@implementer(ICredentialsChecker)
class OnePassword:
    """Everybody has the same password; ``gate`` makes the next check wait."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self) -> None:
        self.users: dict[bytes, AccountId] = {}
        self.gate: Deferred[None] | None = None
        self.fault: Exception | None = None

    def requestAvatarId(self, credentials: object) -> "Deferred[bytes | tuple[()]]":
        """Check."""
        asked = cast("IUsernamePassword", credentials)
        number = self.users.get(asked.username)
        gate, self.gate = self.gate or succeed(None), None
        if self.fault is not None:
            return fail(self.fault)
        if number is None or asked.password != PASSWORD:
            return fail(WrongPassword())
        return gate.addCallback(lambda _: b"%d" % number)


@implementer(IDirectory)
class Accounts:
    """The accounts there are."""

    def __init__(self) -> None:
        self.by_number: dict[AccountId, Account] = {}

    async def find(self, address: Address, *, fresh: bool = False) -> Account | None:
        """Look up by address."""
        del fresh
        found = (one for one in self.by_number.values() if one.address.key == address.key)
        return next(found, None)

    async def by_id(self, account: AccountId) -> Account | None:
        """Look up."""
        return self.by_number.get(account)

    async def route(self, address: Address) -> Route:
        del address
        raise AssertionError("POP3 takes no mail")

    def secret(self) -> bytes:
        """Nobody sends here."""
        raise NotImplementedError

    async def signing_keys(self, domain: str) -> tuple[SigningKey, ...]:
        """Nobody sends here."""
        raise NotImplementedError

    async def usage(self, account: AccountId, *, fresh: bool = False) -> Usage:
        del account, fresh
        raise AssertionError("POP3 takes no mail")

    async def is_disabled(self, domain: str) -> bool:
        del domain
        raise AssertionError("POP3 takes no mail")

    async def is_local(self, domain: str) -> bool:
        """Tell that we have one domain."""
        return domain == "test.com"

    async def home(self) -> str | None:
        """Tell it."""
        return "test.com"

    async def shortest_keep(self) -> int | None:
        """Tell the fewest days of all accounts."""
        days = (one.keep_days for one in self.by_number.values())
        return min((one for one in days if one is not None), default=None)


class PostOffice:
    """
    The POP3 service with maildrops in memory.

    Args:
        settings: All of them.
        inline: Larger bodies are in chunks.
        chunk: Octets of one chunk.
        maildrops: Others, which answer at once; their users come by ``admit``.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        inline: int = 64 * 1024,
        chunk: int = 256 * 1024,
        maildrops: IMaildrops | None = None,
    ) -> None:
        self.clock = Clock()
        self.settings = settings or Settings()
        self.maildrops = MemoryMaildrops(self.clock, inline, chunk)
        self._opened = maildrops or self.maildrops
        self.background = Background()
        self.checker = OnePassword()
        self.accounts = Accounts()
        self.places = 1000
        self.factory = Pop3Factory(
            self._make_authenticator(),
            self.settings,
            self.clock,
            self._has_place,
            shortest_keep=self.accounts.shortest_keep,
        )
        # One for conversations and leases, so that a test sees all that is left.
        self.factory.background = self.background

    def _make_authenticator(self) -> Authenticator:
        door = MaildropDoor(self._opened, self.clock, self.background, self.settings.pop3)
        doors: dict[type[Interface], Door] = {pop3.IMailbox: Door(Scope.POP3, door.receive)}
        portal = Portal(MailRealm(self.accounts, doors), [self.checker, ProofChecker()])
        guard = LoginGuard(
            self.clock.seconds, self.settings.login, exempt=self.settings.limits.exempt
        )
        book = KeyBook(self.accounts, guard, ROUNDS, lambda: b"secret")
        return Authenticator(portal, book, {pop3.IMailbox: Scope.POP3})

    def add(self, user: bytes, *bodies: bytes, scopes: tuple[Scope, ...] = ()) -> Account:
        """Make a user with some mail."""
        account = replace(
            make_account(len(self.accounts.by_number) + 1, *scopes),
            address=Address(user.decode(), "test.com"),
            verifiers=(_CREDENTIAL,),
        )
        self.admit(user, account)
        self.maildrops.fill(account, *bodies)
        return account

    def admit(self, user: bytes, account: Account) -> None:
        """Let the user of an account log in."""
        self.accounts.by_number[account.id] = account
        self.checker.users[user] = account.id

    def connect(self, client: str = "127.0.0.1") -> "Talk":
        """Connect a client, which has not yet read the greeting."""
        return Talk(self, client)

    def log_in(self, user: bytes = b"alice") -> "Talk":
        """Connect a client that has logged in."""
        talk = self.connect().hears(b"+OK").says(b"USER " + user, b"PASS " + PASSWORD)
        return talk.hears(b"+OK", b"+OK")

    def turn(self) -> None:
        """Do what is due now."""
        calls = self.clock.getDelayedCalls()
        while any(call.getTime() <= self.clock.seconds() for call in calls):
            self.clock.advance(0)
            calls = self.clock.getDelayedCalls()

    def _has_place(self) -> bool:
        return len(self.factory.sessions) <= self.places


class Talk:
    """One client; each method gives it back, so that a session reads like its transcript."""

    def __init__(self, office: PostOffice, client: str) -> None:
        self.office = office
        self.transport = PipeTransport(client)
        self._heard = 0
        self._lost = False
        protocol = office.factory.buildProtocol(None)
        self._protocol = protocol
        protocol.makeConnection(cast("pop3.POP3", self.transport))
        office.turn()

    @property
    def all_heard(self) -> bytes:
        """Everything that the server has ever said."""
        return b"".join(self.transport.writes)

    def sends(self, octets: bytes) -> Self:
        """Send octets in one segment."""
        self._protocol.dataReceived(octets)
        self.office.turn()
        return self

    def says(self, *lines: bytes) -> Self:
        """Send lines in one segment."""
        return self.sends(b"".join(line + b"\r\n" for line in lines))

    def hears(self, *lines: bytes) -> Self:
        """Expect lines, in this order; each may go on behind what is told of it here."""
        for expected in lines:
            line = self.next_line()
            assert line.startswith(expected), f"expected {expected!r}, heard {line!r}"
        return self

    def hears_exactly(self, *lines: bytes) -> Self:
        """Expect lines, in this order, to their last octet."""
        for expected in lines:
            assert self.next_line() == expected
        return self

    def hears_nothing(self) -> Self:
        """Expect silence."""
        rest = self.all_heard[self._heard :]
        assert rest == b"", f"heard {rest!r}"
        return self

    def follows(self, script: str) -> Self:
        """
        Play a transcript as RFCs print it.

        Args:
            script: Lines ``C: said`` and ``S: heard``. What is heard is exact to its last
                octet; behind ``+OK ...`` and ``-ERR ...`` any text may stand, or none.
        """
        for line in script.strip().splitlines():
            who, _, text = line.strip().partition(":")
            octets = text.removeprefix(" ").encode("ascii")
            if who == "C":
                self.hears_nothing().says(octets)
            elif octets in (b"+OK ...", b"-ERR ..."):
                self.hears(octets[:-4])
            else:
                self.hears_exactly(octets)
        return self.hears_nothing()

    def next_line(self) -> bytes:
        """Hear one line, and give it without its CRLF."""
        line, end, _ = self.all_heard[self._heard :].partition(b"\r\n")
        assert end, f"the server has said only {line!r}"
        self._heard += len(line) + 2
        return line

    def hears_text(self) -> bytes:
        """Hear +OK and a text, and give the text as it was before dot-stuffing."""
        self.hears(b"+OK")
        return self.rest_of_text()

    def rest_of_text(self) -> bytes:
        """Hear a text behind its +OK, and give it as it was before dot-stuffing."""
        lines = []
        while (line := self.next_line()) != b".":
            lines.append(line.removeprefix(b".") + b"\r\n")
        return b"".join(lines)

    def rest_of_list(self) -> list[bytes]:
        """Hear +OK and a text, and give its lines as they are on the wire."""
        self.hears(b"+OK")
        lines = []
        while (line := self.next_line()) != b".":
            lines.append(line)
        return lines

    def asks(self, command: bytes) -> bytes:
        """Send a command and hear its text."""
        return self.says(command).hears_text()

    def waits(self, seconds: float) -> Self:
        """Let time go by."""
        for _ in range(int(seconds)):
            self.office.clock.advance(1)
        self.office.turn()
        return self

    def loses_its_line(self) -> Self:
        """Be gone."""
        self._lost = self.transport.closed = True
        self._protocol.connectionLost(Failure(ConnectionDone()))
        self.office.turn()
        return self

    def is_hung_up_on(self) -> Self:
        """Expect that the server has closed the connection, and close this end too."""
        assert self.transport.closed
        return self if self._lost else self.loses_its_line()

    def is_still_connected(self) -> Self:
        """Expect that the server listens."""
        assert not self.transport.closed
        return self


@contextmanager
def logs() -> Iterator[list[LogEvent]]:
    """Collect what is logged meanwhile."""
    heard: list[LogEvent] = []

    @implementer(ILogObserver)
    def note(event: LogEvent) -> None:
        heard.append(event)

    globalLogPublisher.addObserver(note)
    try:
        yield heard
    finally:
        globalLogPublisher.removeObserver(note)


def faults(heard: list[LogEvent]) -> list[LogEvent]:
    """Pick what an operator must look at."""
    return [event for event in heard if event["log_level"] in (LogLevel.error, LogLevel.critical)]
