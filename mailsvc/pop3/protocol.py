"""POP3 on Twisted: sockets and time-outs; what is said is decided in ``table``."""

from collections.abc import Callable
from typing import Any, ClassVar, cast

from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, ISSLTransport, ITCPTransport
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.mail import pop3
from twisted.python.failure import Failure
from zope.interface import implementer

from mailsvc.background import Background
from mailsvc.config.settings import LogLevel, Settings
from mailsvc.model.envelope import Client
from mailsvc.pop3.replies import GREETING, TOO_MANY_CONNECTIONS, Reply
from mailsvc.pop3.session import Session
from mailsvc.pop3.table import answer, answer_bad
from mailsvc.wire.dialogue import BadLine, Dialogue, HungUp, Stopping, TimedOut, Transport

LONGEST_LINE = 255
"""Octets, CRLF included; RFC 2449 section 4."""
_SHORT = 512
"""Octets of a reply that may wait for others of its group."""
_IN_A_ROW = 100
"""Commands of one client before the others get their turn."""


class Pop3Protocol(pop3.POP3):
    """
    One connection: feeds a dialogue and runs one conversation.

    Of ``pop3.POP3`` only the place in Twisted's type hierarchy is left: its line splitting,
    command queue, time-out and replies are all replaced.
    """

    factory: "Pop3Factory"
    _dialogue: Dialogue
    _log = Logger()

    def connectionMade(self) -> None:
        """Greet, or turn away when there are too many."""
        transport: Any = self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        self._dialogue = Dialogue(cast("Transport", transport), self.factory.clock, LONGEST_LINE)
        if not self.factory.admits():
            self._dialogue.write(TOO_MANY_CONNECTIONS.octets)
            self._dialogue.close()
            return
        self.factory.sessions.add(self)
        self.factory.background.start(self._converse(self._new_session()), "POP3 session")

    def dataReceived(self, data: bytes) -> None:
        """Take what the client sent."""
        self._dialogue.received(data)

    def connectionLost(self, reason: Failure = pop3.connectionDone) -> None:
        """Let the conversation hear of it."""
        del reason
        self._dialogue.lost()
        self.factory.forget(self)

    def interrupt(self) -> None:
        """End the session as soon as it waits for its client; nothing is removed."""
        self._dialogue.interrupt()

    def _new_session(self) -> Session:
        transport: Any = self.transport
        peer = transport.getPeer()
        return Session(
            self.factory.portal,
            self.factory.settings,
            Client(getattr(peer, "host", ""), getattr(peer, "port", 0)),
            secure=ISSLTransport.providedBy(transport),
            end=self.interrupt,
        )

    async def _converse(self, session: Session) -> None:
        """Answer until the end; RFC 1939 section 3: an autologout is silent."""
        how = "a fault of ours"
        try:
            how = await self._answer_all(session)
        except HungUp:
            how = "the connection was lost"
        except TimedOut:
            how = "the client was silent or did not read"
        except Stopping:
            how = "its maildrop was lost" if session.maildrop_lost else "the service stops"
        finally:
            session.leave()
            self._dialogue.close()
            self._log_end(session, how)

    async def _answer_all(self, session: Session) -> str:
        dialogue, idle = self._dialogue, self.factory.settings.pop3.idle_timeout
        dialogue.write(GREETING.octets)
        commands = 0
        while True:
            try:
                line = await dialogue.line(idle)
            except BadLine as bad:
                reply = answer_bad(session, bad)
            else:
                if self.factory.logs_commands:
                    self._log_command(session, line)
                reply = await answer(session, line)
            if not await self._say(reply):
                return "a reply could not be finished"
            if reply.last:
                return "QUIT" if not reply.failed else "sent away"
            commands += 1
            if commands % _IN_A_ROW == 0:
                await self._give_turn()

    async def _say(self, reply: Reply) -> bool:
        """Say a reply; False: it broke off, and so must the connection."""
        dialogue, stalled = self._dialogue, self.factory.settings.pop3.stalled_timeout
        if reply.rest is None and len(reply.octets) <= _SHORT:
            dialogue.write(reply.octets)
            return True
        if reply.rest is None:
            await dialogue.send(reply.octets, stalled)
            return True
        dialogue.write(reply.octets)
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
        said = b"PASS" if verb == b"PASS" else line
        self._log.debug("{client} says {said!r}", client=session.client.ip, said=said)

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
class Pop3Factory(ServerFactory):
    """
    Makes a protocol for each connection of one or more POP3 listeners.

    Wiring::

        background = Background()  # POP3's own: ``stop`` waits for all that runs in it
        door = MaildropDoor(Maildrops(database), reactor, background, settings.pop3.lease)
        realm = MailRealm(directory, {pop3.IMailbox: Door(Scope.POP3, door.receive)})
        portal = Portal(realm, [AccountChecker(directory, passwords)])
        factory = Pop3Factory(portal, settings, reactor, background, room)

    To stop: close the ports, then await ``stop``, then stop the database.

    Args:
        portal: Where users log in; its avatar for ``pop3.IMailbox`` is a ``Maildrop``.
        settings: Sections ``pop3``, ``login`` and ``log``.
        clock: For time-outs.
        background: Runs the sessions.
        room: Whether one more connection may come in; None: always.
    """

    protocol = Pop3Protocol
    noisy = False
    challengers: ClassVar[dict[bytes, Any]] = {}
    """SASL mechanisms, for ``pop3.IServerFactory``: none yet."""

    def __init__(
        self,
        portal: Portal,
        settings: Settings,
        clock: IReactorTime,
        background: Background,
        room: Callable[[], bool] | None = None,
    ) -> None:
        self.portal = portal
        self.settings = settings
        self.clock = clock
        self.background = background
        self.sessions: set[Pop3Protocol] = set()
        """The connections that are open."""
        self.logs_commands = settings.log.level is LogLevel.DEBUG
        self._room = room
        self._stopping = False
        self._emptied: list[Deferred[None]] = []

    def startFactory(self) -> None:
        """Welcome clients, also after a stop."""
        self._stopping = False

    def admits(self) -> bool:
        """Whether one more connection may come in."""
        return not self._stopping and (self._room is None or self._room())

    def forget(self, session: Pop3Protocol) -> None:
        """Note that a connection is closed."""
        self.sessions.discard(session)
        if not self.sessions:
            emptied, self._emptied = self._emptied, []
            for deferred in emptied:
                deferred.callback(None)

    async def stop(self) -> None:
        """
        End all sessions and wait for that; nothing is removed but by a QUIT that was heard.

        Returns:
            When every maildrop is released and every connection closed.
        """
        self._stopping = True
        for session in tuple(self.sessions):
            session.interrupt()
        await self.background.drain()
        if self.sessions:
            emptied: Deferred[None] = Deferred()
            self._emptied.append(emptied)
            await emptied

    # pop3.IServerFactory; RFC 2449 section 6

    def cap_IMPLEMENTATION(self) -> str:
        """Tell who we are."""
        return "mailsvc"

    def cap_EXPIRE(self) -> None:
        """Tell that mail stays until it is removed."""

    def perUserExpiration(self) -> bool:
        """Tell that this is so for everybody."""
        return False

    def cap_LOGIN_DELAY(self) -> int:
        """Tell that users may come back at once."""
        raise NotImplementedError

    def perUserLoginDelay(self) -> bool:
        """Tell that this is so for everybody."""
        return False
