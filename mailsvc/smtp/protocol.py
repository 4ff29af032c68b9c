"""Twisted's side of SMTP: socket, framing, time-outs; decides nothing."""

from collections.abc import Callable
from typing import cast

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.mail import smtp
from twisted.python.failure import Failure

from mailsvc.background import Background
from mailsvc.smtp import replies
from mailsvc.smtp.content import Arrival
from mailsvc.smtp.replies import After, Reply
from mailsvc.smtp.session import Session, SmtpHouse
from mailsvc.smtp.table import answer
from mailsvc.spool import SpoolRoom
from mailsvc.wire.dialogue import (
    BareLineFeed,
    Dialogue,
    HungUp,
    LineTooLong,
    Stopping,
    TcpTransport,
    TimedOut,
    client_of,
    set_no_delay,
)


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
            while await self._turn():
                pass
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
        try:
            line = await dialogue.line(self.factory.house.settings.command_timeout)
        except LineTooLong:
            return self._say(session.judge(replies.LINE_TOO_LONG))
        except BareLineFeed:
            return self._say(session.judge(replies.BARE_LINE_FEED))
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
