"""Twisted's side of SMTP: socket, framing, time-outs; decides nothing."""

from collections.abc import Callable
from typing import cast

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.mail import smtp
from twisted.python.failure import Failure

from mailsvc.background import Background
from mailsvc.config.units import KIB
from mailsvc.smtp import replies
from mailsvc.smtp.content import Arrival
from mailsvc.smtp.replies import After, Reply
from mailsvc.smtp.session import Session, SmtpHouse
from mailsvc.smtp.table import answer, answer_bad
from mailsvc.spool import SpoolRoom
from mailsvc.wire.dialogue import (
    BadLine,
    Dialogue,
    HungUp,
    Stopping,
    TcpTransport,
    TimedOut,
    client_of,
    set_no_delay,
)

_GROUP = 64 * KIB
"""Octets of replies that wait for a client that sends and does not read."""
_IN_A_ROW = 100
"""Commands of one client before the others get their turn."""


class SmtpProtocol(smtp.ESMTP):
    """
    One connection.

    Of Twisted's ESMTP only the type is left: its framing, its command queue and its verbs
    are ours, because stock ESMTP loses replies, mail and the border between them.
    """

    factory: "SmtpFactory"
    _log = Logger()

    def connectionMade(self) -> None:
        """Greet the client and start the conversation."""
        factory, transport = self.factory, cast("TcpTransport", self.transport)
        self._dialogue = Dialogue(
            transport,
            factory.clock,
            longest_line=512,
            longest_session=factory.house.settings.session_timeout,
        )
        factory.sessions.add(self)
        set_no_delay(transport)
        self._session = Session(factory.house, client_of(transport.getPeer()), secure=False)
        self._dialogue.longest_line = self._session.longest_line
        factory.background.start(self._converse(), "SMTP conversation")

    def dataReceived(self, data: bytes) -> None:
        """Pass the octets on."""
        self._dialogue.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pass it on; what is under way goes on to its end."""
        del reason
        self.factory.sessions.discard(self)
        self._dialogue.lost()

    def interrupt(self) -> None:
        """Say 421 as soon as nothing is under way."""
        self._dialogue.interrupt()

    async def _converse(self) -> None:
        """Hold the conversation from greeting to good-bye."""
        session, dialogue = self._session, self._dialogue
        try:
            if not self.factory.admit():
                self._say(replies.TOO_MANY_CONNECTIONS)
                return
            self._say(session.greeting())
            commands = 0
            while await self._turn():
                commands += 1
                if commands % _IN_A_ROW == 0:
                    await deferLater(self.factory.clock, 0)
        except HungUp:
            pass
        except TimedOut:
            self._say(replies.TIMED_OUT)
        except Stopping:
            self._say(replies.STOPPING)
        finally:
            session.leave()
            dialogue.close()

    async def _turn(self) -> bool:
        """Take one command and answer it; False: the conversation is over."""
        session, dialogue = self._session, self._dialogue
        patience = self.factory.house.settings.command_timeout
        if dialogue.unsent >= _GROUP:
            await dialogue.send(b"", patience)
        try:
            line = await dialogue.line(patience)
        except BadLine as bad:
            return self._say(answer_bad(session, bad))
        reply = await answer(session, line)
        self._say(reply)
        if reply.after is After.CONTENT:
            reply = await self._take_content()
            self._say(reply)
        return reply.after is not After.CLOSE

    async def _take_content(self) -> Reply:
        arrival = Arrival(self._session, self.factory.room)
        try:
            while not arrival.done:
                patience = self.factory.house.settings.content_timeout
                arrival.feed(await self._dialogue.octets(patience))
        except BaseException:
            arrival.close()
            raise
        self._dialogue.give_back(arrival.rest)
        return await arrival.finish()

    def _say(self, reply: Reply) -> bool:
        """Write a reply; False: it was the last one."""
        self._dialogue.write(reply.wire)
        return reply.after is not After.CLOSE


class SmtpFactory(smtp.SMTPFactory):
    """
    Makes the connections of one listener.

    Args:
        house: What its sessions share.
        room: Where messages are spooled.
        clock: For time-outs.
        admit: Asked for each new connection; False: there are too many.
    """

    protocol = SmtpProtocol
    noisy = False

    def __init__(
        self,
        house: SmtpHouse,
        room: SpoolRoom,
        clock: IReactorTime,
        admit: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(house.portal)
        self.house = house
        self.room = room
        self.clock = clock
        self.admit = admit
        self.background = Background()
        self.sessions: set[SmtpProtocol] = set()

    def buildProtocol(  # type: ignore[override]  # Twisted says less precisely what it gives
        self, addr: IAddress | None
    ) -> SmtpProtocol:
        """Make one connection."""
        del addr
        protocol = self.protocol()
        protocol.factory = self
        return protocol

    def interrupt(self) -> None:
        """Send all clients away as soon as what they have under way is answered."""
        for session in tuple(self.sessions):
            session.interrupt()
