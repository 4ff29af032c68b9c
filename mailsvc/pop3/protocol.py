"""POP3 on Twisted: sockets and time-outs; what is said is decided in ``table``."""

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from math import ceil
from typing import Any, ClassVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IReactorTime,
)
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.mail import pop3
from twisted.python.failure import Failure
from zope.interface import implementer

from mailsvc.background import Background
from mailsvc.config.settings import LogLevel, Settings
from mailsvc.config.units import KIB
from mailsvc.interfaces import IAuthenticator, IRules
from mailsvc.model.account import Scope
from mailsvc.model.envelope import Client
from mailsvc.model.session import Ending, Visit, session_numbers
from mailsvc.model.story import Handling
from mailsvc.policy.allowance import Limits
from mailsvc.policy.crowd import Place
from mailsvc.pop3.replies import (
    GREETING,
    KEPT_OUT,
    NOTHING_BEHIND,
    PLAIN,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_OF_CLIENT,
    Reply,
)
from mailsvc.pop3.session import LONGEST_LINE, Session, ShortestKeep, never
from mailsvc.pop3.table import (
    COMMANDS,
    GROUP,
    answer,
    answer_bad,
    answer_group,
    may_answer_group,
)
from mailsvc.wire.dialogue import Dialogue
from mailsvc.wire.entrance import OPEN, Entrance, enter, switch_to_tls
from mailsvc.wire.interruptions import BadLine, HungUp, Stopping, TimedOut
from mailsvc.wire.transport import TcpTransport, set_no_delay

_GROUP = 64 * KIB
"""Octets of the replies of a group that leave together."""
_IN_A_ROW = 100
"""Commands of one client, and a group behind the last, before the others get their turn."""


class _Pause(Enum):
    """What a conversation waits for between two commands."""

    TURN = auto()
    """The others get theirs."""
    READER = auto()
    """The client reads what was said."""


_Left = Reply | Awaitable[Reply] | _Pause
"""What cannot be answered at once."""


@implementer(IHandshakeListener, IHalfCloseableProtocol)
class Pop3Protocol(pop3.POP3):
    """
    One connection: feeds a dialogue and runs one conversation.

    Of ``pop3.POP3`` only the place in Twisted's type hierarchy is left: its line splitting,
    command queue, time-out and replies are all replaced.
    """

    factory: "Pop3Factory"  # type: ignore[assignment]  # POP3 says None
    _dialogue: Dialogue
    _known: Session | None = None
    """None: it has not begun, for a PROXY header or TLS is to come."""
    _why = Ending.STOPPING
    _log = Logger()

    def connectionMade(self) -> None:
        """Start the conversation."""
        factory, transport = self.factory, cast("TcpTransport", self.transport)
        self._place = Place()
        self._left: _Left | None = None
        self._commands = 0
        set_no_delay(transport)
        self._dialogue = Dialogue(transport, factory.clock, LONGEST_LINE)
        # Without the call in between, for each command.
        self.dataReceived = self._dialogue.received  # type: ignore[method-assign, assignment]
        self._number, self._began = next(session_numbers), factory.clock.seconds()
        factory.sessions.add(self)
        factory.background.start(self._converse(), "POP3 conversation")

    def dataReceived(self, data: bytes) -> None:
        """Take what the client sent."""
        self._dialogue.received(data)

    def handshakeCompleted(self) -> None:
        """Let the conversation hear of it; TWISTED: IHandshakeListener."""
        self._dialogue.handshaken()

    def readConnectionLost(self) -> None:
        """Answer what was said; TWISTED: without this, who ends only its own side hears nothing."""
        self._dialogue.input_ended()

    def writeConnectionLost(self) -> None:
        """Do nothing: we never end our side alone."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let the conversation hear of it."""
        self.factory.sessions.discard(self)
        self._dialogue.lost(reason)
        self._place.let_go()

    def interrupt(self) -> None:
        """End the session as soon as it waits for its client; nothing is removed."""
        self._dialogue.interrupt()

    def end(self, why: Ending) -> None:
        """Do the same for another reason."""
        self._why = why
        self._dialogue.interrupt()

    def use(self, settings: Settings) -> None:
        """Hold to other settings from now on."""
        if self._known is not None:
            self._known.settings = settings

    def visit(self) -> Visit:
        """Tell who is there."""
        known = self._known
        if known is None:
            return Visit(self._number, None, None, secure=False, began=self._began)
        drop = known.open_maildrop
        account = None if drop is None else drop.account
        return Visit(self._number, known.client, account, known.secure, self._began)

    async def _converse(self) -> None:
        """Let the client in and talk, or turn it away when there are too many."""
        factory, dialogue = self.factory, self._dialogue
        transport = cast("TcpTransport", self.transport)
        try:
            client = await enter(dialogue, transport, factory.entrance, self._admit)
            self._known = self._new_session(client)
            await self._talk(self._known)
        except HungUp:
            pass
        finally:
            dialogue.close()
            self._place.let_go()

    def _admit(self, client: Client) -> bytes:
        """Count the connection; give the last words for one too many."""
        rules = self.factory.rules
        if rules is not None and not rules.admits(client.ip, Scope.POP3):
            self._log.info("refused {client}: a rule keeps it out", client=client.ip)
            return KEPT_OUT.octets
        if not self.factory.admit():
            return TOO_MANY_CONNECTIONS.octets
        leave = self.factory.limits.enter(client.ip)
        if leave is None:
            self._log.info("refused {client}: too many connections", client=client.ip)
            return TOO_MANY_OF_CLIENT.octets
        self._place.leave = leave
        return b""

    def _new_session(self, client: Client) -> Session:
        return Session(
            self.factory.authenticator,
            self.factory.settings,
            client,
            self._dialogue.channel,
            stls=self.factory.entrance.offers_tls,
            shortest_keep=self.factory.shortest_keep,
            handled=self.factory.handled,
            end=self.interrupt,
        )

    async def _talk(self, session: Session) -> None:
        """Answer until the end; RFC 1939 section 3: an autologout is silent."""
        how = "a fault of ours"
        try:
            how = await self._answer_all(session)
        except HungUp:
            how = "the connection was lost"
        except TimedOut:
            how = "the client was silent or did not read"
        except Stopping:
            how = "its maildrop was lost" if session.maildrop_lost else self._why
        finally:
            session.leave()
            self._dialogue.close()
            self._log_end(session, how)

    async def _answer_all(self, session: Session) -> str:
        """Answer one command after the other; give how the session ended."""
        dialogue = self._dialogue
        dialogue.write(GREETING.octets)
        while True:
            left, self._left = self._left, None
            if left is None:
                left = self._answer_ready(session)
            if left is None:
                await self._wait(session)
            elif left is _Pause.TURN:
                self._commands = 0
                await self._give_turn()
            elif left is _Pause.READER:
                await dialogue.send(b"", self.factory.settings.pop3.stalled_timeout)
            else:
                reply = left if isinstance(left, Reply) else await left
                if reply[1:] == PLAIN:
                    self._left = self._write(session, reply)
                elif how := await self._say_and_do(session, reply):
                    return how

    def _answer_ready(self, session: Session) -> _Left | None:
        """
        Answer what is there, up to what must be waited for; give that. None: the next command.

        Most lines are there, and most replies need no waiting: no coroutine for those.
        """
        while self._commands < _IN_A_ROW:
            found = self._hear(session)
            if found is None:
                return None
            self._commands += 1
            if not isinstance(found, Reply) or found[1:] != PLAIN:
                return found
            if self._write(session, found) is not None:
                return _Pause.READER
        return _Pause.TURN

    def _write(self, session: Session, reply: Reply) -> _Pause | None:
        """Write a reply, and those to a group behind it."""
        dialogue = self._dialogue
        dialogue.write(reply.octets)
        if dialogue.pending and dialogue.unsent < _GROUP:
            self._commands += self._answer_group(session)
        return _Pause.READER if dialogue.unsent >= _GROUP else None

    def _answer_at_once(self) -> bool:
        """Answer while the conversation sleeps: waking it costs as much as most commands."""
        session, dialogue = self._known, self._dialogue
        if session is None:
            return False
        self._commands = self._answer_group(session)
        # A line that has begun is the conversation's: it drops one that is too long.
        if dialogue.pending:
            full = dialogue.unsent >= _GROUP
            self._left = _Pause.READER if full else self._answer_ready(session)
            if self._left is not None or dialogue.pending:
                return False
        dialogue.flush()
        if session.open_maildrop is not None:
            session.open_maildrop.look_ahead()
        return True

    def _answer_group(self, session: Session) -> int:
        """Answer some commands that came together, if that needs no waiting; give how many."""
        dialogue = self._dialogue
        if self.factory.logs_commands or not may_answer_group(session):
            return 0
        lines = dialogue.seen(GROUP)
        if not lines:
            return 0
        replies, octets = answer_group(session, lines, _GROUP - dialogue.unsent)
        dialogue.take(octets)
        for reply in replies:
            dialogue.write(reply)
        return len(replies)

    def _hear(self, session: Session) -> Reply | Awaitable[Reply] | None:
        """Take one command and find its reply; None: there is no command yet."""
        dialogue = self._dialogue
        dialogue.longest_line = session.longest_line
        try:
            line = dialogue.ready_line()
        except BadLine as bad:
            return answer_bad(session, bad)
        if line is None:
            return None
        if self.factory.logs_commands:
            self._log_command(session, line)
        return answer(session, line)

    def _wait(self, session: Session) -> Awaitable[None]:
        """Let the client hear its replies, and wait for more of it; meanwhile work ahead."""
        self._dialogue.flush()
        if session.open_maildrop is not None:
            session.open_maildrop.look_ahead()
        timeout = self.factory.settings.pop3.idle_timeout
        return self._dialogue.rest_of_line(timeout, self._answer_at_once)

    async def _say_and_do(self, session: Session, reply: Reply) -> str:
        """Say a reply and do what comes of it; give how the session ended, or nothing."""
        dialogue = self._dialogue
        if reply.tls and dialogue.pending:
            # What stands behind STLS may be somebody else's; CVE-2011-0411.
            reply = NOTHING_BEHIND
        if not await self._say(reply):
            return "a reply could not be finished"
        if reply.tls:
            channel = await switch_to_tls(dialogue, session.client, self.factory.entrance)
            session.begin_again(channel)
        if reply.last:
            return "sent away" if reply.failed else "QUIT"
        return ""

    async def _say(self, reply: Reply) -> bool:
        """Say a reply that takes its time; False: it broke off, and so must the connection."""
        dialogue, stalled = self._dialogue, self.factory.settings.pop3.stalled_timeout
        if reply.late and self.factory.settings.pop3.tarpit:
            await dialogue.rest(self.factory.settings.pop3.tarpit)
        dialogue.write(reply.octets)
        if reply.rest is None:
            return True
        try:
            async for octets in reply.rest:
                await dialogue.send(octets, stalled)
                await self._give_turn()
        except (HungUp, TimedOut, Stopping):
            raise
        except Exception:  # noqa: BLE001 - after +OK there is no other way to tell the client
            self._log.failure("a long reply broke off")
            dialogue.abort()
            return False
        return True

    def _give_turn(self) -> "Deferred[None]":
        """Let the other connections be served."""
        return deferLater(self.factory.clock, 0)

    def _log_command(self, session: Session, line: bytes) -> None:
        verb = line.partition(b" ")[0].upper()
        command = COMMANDS.get(verb)
        # A password stands also behind a verb that was mistyped, and in a response.
        said = verb if command is not None else b"something"
        if command is not None and not command.password and session.awaiting is None:
            said = line
        self._log.debug(
            "{client} says in session {number}: {said!r}",
            client=session.client.ip,
            number=self._number,
            said=said,
        )

    def _log_end(self, session: Session, how: str) -> None:
        log = self._log.debug if session.user is None else self._log.info
        log(
            "session of {user!r} from {client} ended: {how}; sent {sent}, removed {removed}",
            user=session.user,
            client=session.client.ip,
            how=how,
            sent=session.sent,
            removed=session.removed,
        )


@implementer(pop3.IServerFactory)
class Pop3Factory(ServerFactory[Pop3Protocol]):
    """
    Makes a protocol for each connection of one or more POP3 listeners.

    Wiring::

        background = Background()  # of the leases, drained before the database stops
        door = MaildropDoor(Maildrops(database), reactor, background, settings.pop3)
        realm = MailRealm(directory, {pop3.IMailbox: Door(Scope.POP3, door.receive)})
        portal = Portal(realm, [AccountChecker(directory, passwords, guard), ProofChecker()])
        authenticator = Authenticator(portal, key_book, {pop3.IMailbox: Scope.POP3})
        factory = Pop3Factory(authenticator, settings, reactor, admit)

    To stop: close the ports, ``interrupt``, drain ``factory.background``, then *background*, and
    stop the database.

    Args:
        authenticator: Where users log in; the avatar for ``pop3.IMailbox`` is a ``Maildrop``.
        settings: Sections ``pop3``, ``login``, ``limits`` and ``log``.
        clock: For time-outs.
        admit: Asked for each new connection; False: there are too many.
        limits: What one client may do; None: this factory counts for itself.
        entrance: What comes before the greeting.
        shortest_keep: Tells the fewest days that any user's mail stays; None: for ever.
        handled: Takes down what is fetched and removed.
        rules: Keep clients out; None: there are none.
    """

    noisy = False
    challengers: ClassVar[dict[bytes, Any]] = {}
    """For ``pop3.IServerFactory``; the SASL mechanisms are in ``auth.sasl``."""

    def __init__(
        self,
        authenticator: IAuthenticator,
        settings: Settings,
        clock: IReactorTime,
        admit: Callable[[], bool] = lambda: True,
        limits: Limits | None = None,
        entrance: Entrance = OPEN,
        shortest_keep: ShortestKeep = never,
        *,
        handled: Callable[[Handling], object] = lambda _: None,
        rules: IRules | None = None,
    ) -> None:
        self.authenticator = authenticator
        self.settings = settings
        self.clock = clock
        self.background = Background()
        """Runs the conversations."""
        self.sessions: set[Pop3Protocol] = set()
        """The connections that are open."""
        self.logs_commands = settings.log.level is LogLevel.DEBUG
        self.admit = admit
        self.shortest_keep = shortest_keep
        self.handled = handled
        self.rules = rules
        self.entrance = entrance
        self.limits = limits or Limits(settings.limits, clock.seconds)

    def use(self, settings: Settings) -> None:
        """Hold to other settings from now on, in open sessions, too."""
        self.settings = settings
        self.logs_commands = settings.log.level is LogLevel.DEBUG
        for one in self.sessions:
            one.use(settings)

    def buildProtocol(self, addr: IAddress | None) -> Pop3Protocol:
        """Make what talks to one client."""
        del addr
        protocol = Pop3Protocol()
        protocol.factory = self
        return protocol

    def interrupt(self) -> None:
        """End all sessions as soon as their clients are waited for; nothing is removed."""
        for session in tuple(self.sessions):
            session.interrupt()

    # pop3.IServerFactory; RFC 2449 section 6

    def cap_IMPLEMENTATION(self) -> str:
        """Tell who we are."""
        return "mailsvc"

    def cap_EXPIRE(self) -> None:
        """Tell that mail stays until it is removed; users who want less hear it in CAPA."""

    def perUserExpiration(self) -> bool:
        """Tell that this is so for everybody."""
        return False

    def cap_LOGIN_DELAY(self) -> int:
        """Tell how many seconds must lie between two logins."""
        return ceil(self.settings.pop3.login_delay)

    def perUserLoginDelay(self) -> bool:
        """Tell that this is so for everybody."""
        return False
