"""Hold SMTP conversations without a socket: a fake transport, an intake in memory."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.mail.smtp import IMessageDelivery
from twisted.python.failure import Failure
from zope.interface import implementer

from mailsvc.auth.authenticator import Authenticator
from mailsvc.auth.checkers import AccountChecker, ProofChecker
from mailsvc.auth.guard import LoginGuard
from mailsvc.auth.realm import Door, MailRealm
from mailsvc.auth.sasl import KeyBook
from mailsvc.config.settings import Kind, LimitSettings, LoginSettings, SmtpSettings, SpoolSettings
from mailsvc.interfaces import IContent, IDirectory, IIntake
from mailsvc.model.account import Account, Role, Scope, Verifier
from mailsvc.model.address import Address, parse_address
from mailsvc.model.dkim import SigningKey
from mailsvc.model.envelope import Envelope
from mailsvc.model.ids import AccountId, CredentialId, FolderId, MessageId
from mailsvc.model.quota import Usage
from mailsvc.model.receipt import Receipt
from mailsvc.model.route import DeadEnd, Route
from mailsvc.policy.allowance import Limits
from mailsvc.smtp.avatar import Submission
from mailsvc.smtp.protocol import SmtpFactory, SmtpProtocol
from mailsvc.smtp.session import SmtpHouse
from mailsvc.spool import SpoolRoom
from tests.support.plain_passwords import ROUNDS, PlainPasswords, plainly, scram_keys

PASSWORD = b"correct horse"
_SCRAM = scram_keys(PASSWORD)
CHINESE = parse_address("用户@例子.测试", utf8=True)


def make_account(name: str, number: int) -> Account:
    """Make an enabled user of test.com."""
    return Account(
        id=AccountId(number),
        address=parse_address(f"{name}@test.com"),
        display_name="",
        role=Role.USER,
        enabled=True,
        scopes=frozenset(Scope),
        inbox=FolderId(number * 10),
        quota_octets=None,
        quota_messages=None,
        verifiers=(Verifier(CredentialId(number), plainly(PASSWORD), _SCRAM),),
    )


@implementer(IDirectory)
class MemoryDirectory:
    """
    Accounts in memory: alice, bob, carol, who is disabled, and one with a UTF-8 address.

    ``held`` is a list once look-ups shall wait: each one adds a Deferred to it.
    """

    def __init__(self) -> None:
        names = ("alice", "bob", "carol")
        self.accounts = {
            f"{name}@test.com": make_account(name, number + 1) for number, name in enumerate(names)
        }
        self.accounts[CHINESE.key] = replace(make_account("user", 9), address=CHINESE)
        self.accounts["carol@test.com"] = replace(self.accounts["carol@test.com"], enabled=False)
        self.held: list[Deferred[None]] | None = None
        self.groups: dict[str, tuple[Account, ...]] = {}
        self.keys: dict[str, tuple[SigningKey, ...]] = {}
        self.used: dict[AccountId, Usage] = {}
        self.asked: list[bool] = []
        """Each question for usage: whether it had to be fresh."""

    async def find(self, address: Address, *, fresh: bool = False) -> Account | None:
        del fresh
        if self.held is not None:
            waiting: Deferred[None] = Deferred()
            self.held.append(waiting)
            await waiting
        if address.key == "postmaster@test.com":
            return self.accounts["alice@test.com"]
        return self.accounts.get(address.key)

    async def route(self, address: Address) -> Route:
        found = await self.find(address)
        if found is None:
            return Route(self.groups.get(address.key, ()))
        return Route((found,)) if found.enabled else Route((), DeadEnd.DISABLED)

    async def signing_keys(self, domain: str) -> tuple[SigningKey, ...]:
        return self.keys.get(domain, ())

    def secret(self) -> bytes:
        return b"secret"

    async def usage(self, account: AccountId, *, fresh: bool = False) -> Usage:
        self.asked.append(fresh)
        return self.used.get(account, Usage(0, 0))

    async def is_disabled(self, domain: str) -> bool:
        return domain == "disabled.example"

    async def by_id(self, account: AccountId) -> Account | None:
        return next((one for one in self.accounts.values() if one.id == account), None)

    async def is_local(self, domain: str) -> bool:
        return domain in {"test.com", CHINESE.domain}

    async def home(self) -> str | None:
        return "test.com"

    async def shortest_keep(self) -> int | None:
        return None


@implementer(IIntake)
@dataclass
class MemoryIntake:
    """
    Keeps messages in memory.

    ``trouble`` is raised instead; ``held`` is a list once commits shall wait.
    """

    taken: list[tuple[Envelope, bytes]] = field(default_factory=list)
    trouble: Exception | None = None
    held: "list[Deferred[None]] | None" = None

    async def accept(self, envelope: Envelope, content: IContent) -> Receipt:
        whole = b"".join(content.pieces(1000))
        if self.held is not None:
            waiting: Deferred[None] = Deferred()
            self.held.append(waiting)
            await waiting
        if self.trouble is not None:
            raise self.trouble
        self.taken.append((envelope, whole))
        return Receipt(MessageId(len(self.taken)), len(whole))


class FakeTransport:
    """Remembers what was written; the other end reads it when the test says so."""

    def __init__(self, ip: str) -> None:
        self.peer = IPv4Address("TCP", ip, 50_000)
        self.written = b""
        self.writes = 0
        self.closed = False
        self.aborted = False
        self.paused = False
        self.unread = 0
        """Octets that wait for the client to read on."""
        self.producer: Any = None

    def unread_octets(self) -> int:
        return self.unread

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes += 1
        self.written += data

    def loseConnection(self) -> None:
        self.closed = True

    def abortConnection(self) -> None:
        self.closed = self.aborted = True

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: FBT001 - Twisted's
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def getPeer(self) -> IPv4Address:
        return self.peer


class Talk:
    """
    One conversation: ``says`` what the client sends, ``hears`` what the server answers.

    A failed expectation names the line of the test that stands there.
    """

    def __init__(
        self,
        kind: Kind = Kind.SMTP,
        *,
        settings: SmtpSettings | None = None,
        login: LoginSettings | None = None,
        ip: str = "127.0.0.1",
        spool: SpoolSettings | None = None,
        admit: Callable[[], bool] = lambda: True,
        limits: LimitSettings | None = None,
    ) -> None:
        self.clock = Clock()
        self.directory = MemoryDirectory()
        self.intake = MemoryIntake()
        self.left: list[Account] = []
        self.free = 1 << 40
        """Octets that the disk has room for."""
        self.room = SpoolRoom(Path(gettempdir()), spool or SpoolSettings())
        self.passwords = PlainPasswords()
        exempt = (limits or LimitSettings()).exempt
        guard = LoginGuard(self.clock.seconds, login or LoginSettings(), exempt)
        portal = self._portal(guard)
        book = KeyBook(self.directory, guard, ROUNDS, lambda: b"secret")
        house = SmtpHouse(
            kind=kind,
            hostname="mail.test.com",
            settings=settings or SmtpSettings(),
            login=login or LoginSettings(),
            directory=self.directory,
            intake=self.intake,
            portal=portal,
            authenticator=Authenticator(portal, book, {IMessageDelivery: Scope.SMTP}),
            has_room=lambda octets: octets <= self.free,
            limits=Limits(limits or LimitSettings(), self.clock.seconds),
        )
        self.factory = SmtpFactory(house, self.room, self.clock, admit)
        self.transport = FakeTransport(ip)
        self.protocol: SmtpProtocol = self.factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        self.heard = 0

    def _portal(self, guard: LoginGuard) -> Portal:
        realm = MailRealm(self.directory, {IMessageDelivery: Door(Scope.SMTP, self._receive)})
        checker = AccountChecker(self.directory, self.passwords, guard)
        return Portal(realm, (checker, ProofChecker()))

    async def _receive(self, account: Account) -> tuple[Submission, Callable[[], None]]:
        submission = Submission(account, self.directory, self.intake, self.room)
        return submission, lambda: self.left.append(account)

    def says(self, *lines: bytes) -> "Talk":
        """Send lines, each with CRLF, in one segment."""
        return self.sends(b"".join(line + b"\r\n" for line in lines))

    def sends(self, octets: bytes) -> "Talk":
        """Send octets as they are."""
        self.protocol.dataReceived(octets)
        return self

    def turns(self) -> "Talk":
        """Let the reactor turn until the server waits for the client."""
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)
        return self

    def hears(self, *starts: bytes) -> "Talk":
        """Expect reply lines that start so, and no others."""
        lines = self.unheard().split(b"\r\n")
        assert lines.pop() == b"", "a reply has no CRLF"
        self.heard = len(self.transport.written)
        where = inspect.stack()[1].lineno
        matched = len(lines) == len(starts) and all(
            line.startswith(start) for line, start in zip(lines, starts, strict=True)
        )
        assert matched, f"line {where}: expected {starts}, heard {lines}"
        return self

    def unheard(self) -> bytes:
        """Give what was answered and not expected yet."""
        return self.transport.written[self.heard :]

    def skips(self) -> "Talk":
        """Let everything pass that was answered so far."""
        self.heard = len(self.transport.written)
        return self

    def hangs_up(self) -> "Talk":
        """Cut the connection from the client's side."""
        self.protocol.connectionLost(Failure(ConnectionDone()))
        return self

    def greeted(self) -> "Talk":
        """Get past greeting and EHLO."""
        return self.says(b"EHLO client.example").skips()

    def logged_in(self) -> "Talk":
        """Get past EHLO and AUTH as alice."""
        self.greeted()
        return self.says(b"AUTH PLAIN AGFsaWNlQHRlc3QuY29tAGNvcnJlY3QgaG9yc2U=").hears(b"235 2.7.0")

    def with_recipient(self) -> "Talk":
        """Get to the point where DATA is next."""
        self.greeted()
        return self.says(b"MAIL FROM:<x@a.example>", b"RCPT TO:<bob@test.com>").hears(
            b"250 2.1.0", b"250 2.1.5"
        )
