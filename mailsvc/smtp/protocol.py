"""Twisted's side of SMTP: socket, framing, time-outs; decides nothing."""

from collections.abc import Callable
from typing import cast

from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IReactorTime,
)
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.mail import smtp
from twisted.python.failure import Failure
from zope.interface import implementer

from mailsvc.background import Background
from mailsvc.config.settings import Kind, Settings
from mailsvc.config.units import KIB
from mailsvc.model.account import Scope
from mailsvc.model.envelope import Client
from mailsvc.model.session import Ending, Visit, session_numbers
from mailsvc.policy.crowd import Place, nothing
from mailsvc.smtp import replies
from mailsvc.smtp.content import ChunkedArrival, DottedArrival
from mailsvc.smtp.replies import After, Chunk, Reply
from mailsvc.smtp.session import Session, SmtpHouse
from mailsvc.smtp.table import answer, answer_bad
from mailsvc.spool import SpoolRoom
from mailsvc.wire.dialogue import Dialogue
from mailsvc.wire.entrance import OPEN, Entrance, enter, switch_to_tls
from mailsvc.wire.interruptions import BadLine, HungUp, Stopping, TimedOut
from mailsvc.wire.transport import TcpTransport, set_no_delay

_GROUP = 64 * KIB
"""Octets of replies that wait for a client that sends and does not read."""
_IN_A_ROW = 100
"""Commands of one client before the others get their turn."""


@implementer(IHandshakeListener, IHalfCloseableProtocol)
class SmtpProtocol(smtp.ESMTP):
    """
    One connection.

    Of Twisted's ESMTP only the type is left: its framing, its command queue and its verbs
    are ours, because stock ESMTP loses replies, mail and the border between them.
    """

    factory: "SmtpFactory"
    _session: Session
    _known: Session | None = None
    """The same; None: it has not begun, for a PROXY header or TLS is to come."""
    _why = Ending.STOPPING
    _log = Logger()

    def connectionMade(self) -> None:
        """Start the conversation."""
        factory, transport = self.factory, cast("TcpTransport", self.transport)
        self._dialogue = Dialogue(
            transport,
            factory.clock,
            longest_line=512,
            longest_session=factory.house.settings.session_timeout,
        )
        self._number, self._began = next(session_numbers), factory.clock.seconds()
        factory.sessions.add(self)
        set_no_delay(transport)
        self._place = Place()
        self._in_transaction = False
        factory.background.start(self._converse(), "SMTP conversation")

    def dataReceived(self, data: bytes) -> None:
        """Pass the octets on."""
        self._dialogue.received(data)

    def handshakeCompleted(self) -> None:
        """Pass it on; TWISTED: IHandshakeListener."""
        self._dialogue.handshaken()

    def readConnectionLost(self) -> None:
        """Answer what was said; TWISTED: without this, who ends only its own side hears nothing."""
        self._dialogue.input_ended()

    def writeConnectionLost(self) -> None:
        """Do nothing: we never end our side alone."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pass it on; what is under way goes on to its end."""
        self.factory.sessions.discard(self)
        self._dialogue.lost(reason)
        self._place.let_go()

    def interrupt(self) -> None:
        """Say 421 as soon as nothing is under way."""
        self._dialogue.interrupt()

    def end(self, why: Ending) -> None:
        """Do the same for another reason."""
        self._why = why
        self._dialogue.interrupt()

    def visit(self) -> Visit:
        """Tell who is there."""
        known = self._known
        if known is None:
            return Visit(self._number, None, None, secure=False, began=self._began)
        return Visit(self._number, known.client, known.login, known.secure, self._began)

    async def _converse(self) -> None:
        """Let the client in, and talk."""
        factory, dialogue = self.factory, self._dialogue
        transport = cast("TcpTransport", self.transport)
        try:
            client = await enter(dialogue, transport, factory.entrance, self._admit)
            starttls = factory.entrance.offers_tls
            self._session = Session(factory.house, client, dialogue.channel, starttls=starttls)
            self._known = self._session
            dialogue.longest_line = self._session.longest_line
            await self._talk()
        except HungUp:
            pass
        finally:
            dialogue.close()
            self._place.let_go()

    def _admit(self, client: Client) -> bytes:
        """Count the connection; give the last words for one too many."""
        house = self.factory.house
        if house.rules is not None and not house.rules.admits(client.ip, Scope.SMTP):
            self._log.info("refused {client}: a rule keeps it out", client=client.ip)
            return replies.KEPT_OUT.wire
        if not self.factory.admit():
            return replies.TOO_MANY_CONNECTIONS.wire
        # What comes by LMTP was accepted by a server of ours.
        leave = nothing if house.kind is Kind.LMTP else house.limits.enter(client.ip)
        if leave is None:
            self._log.info("refused {client}: too many connections", client=client.ip)
            return replies.TOO_MANY_OF_CLIENT.wire
        self._place.leave = leave
        return b""

    async def _talk(self) -> None:
        """Hold the conversation from greeting to good-bye."""
        session, dialogue = self._session, self._dialogue
        try:
            if not await self._welcome():
                return
            commands = 0
            while await self._turn():
                commands += 1
                if commands % _IN_A_ROW == 0:
                    await deferLater(self.factory.clock, 0)
        except HungUp:
            pass
        except TimedOut:
            late = dialogue.is_transaction_over
            self._say(replies.TRANSACTION_TOO_LONG if late else replies.TIMED_OUT)
        except Stopping:
            self._say(replies.ENDED[self._why])
        finally:
            session.leave()
            dialogue.close()

    async def _welcome(self) -> bool:
        """Greet the client; False: it was sent away."""
        session, ip = self._session, self._session.client.ip
        if not (session.exempt or await self._wait_in_silence()):
            self._log.info("refused {client}: it talked before the greeting", client=ip)
            return self._say(replies.TALKED_TOO_EARLY)
        return self._say(session.greeting())

    async def _wait_in_silence(self) -> bool:
        """Let a program that does not wait for its turn show itself; RFC 5321 section 4.3.1."""
        house = self.factory.house
        delay = house.settings.greeting_delay
        if house.kind is not Kind.SMTP or self._session.secure or not delay:
            return True
        return await self._dialogue.hush(delay)

    async def _turn(self) -> bool:
        """Take one command and answer it; False: the conversation is over."""
        session, dialogue = self._session, self._dialogue
        patience = self.factory.house.settings.command_timeout
        if session.has_sender is not self._in_transaction:
            self._time_transaction()
        if dialogue.unsent >= _GROUP:
            await dialogue.send(b"", patience)
        try:
            while (line := dialogue.ready_line()) is None:
                await dialogue.rest_of_line(patience)
        except BadLine as bad:
            return await self._answer(answer_bad(session, bad))
        said = await answer(session, line)
        reply = await self._take_chunk(said) if isinstance(said, Chunk) else said
        if reply.after is After.CONTENT:
            self._say(reply)
            reply = await self._take_content()
        if reply.after is After.TLS:
            return await self._begin_tls(reply)
        return await self._answer(reply) if reply.refuses else self._say(reply)

    async def _begin_tls(self, reply: Reply) -> bool:
        """
        Switch to TLS and start anew.

        What stands behind STARTTLS may be somebody else's, and would be taken for something
        that came over TLS: CVE-2011-0411.
        """
        session, dialogue = self._session, self._dialogue
        if dialogue.pending:
            return self._say(replies.NOTHING_BEHIND)
        self._say(reply)
        session.begin_again(await switch_to_tls(dialogue, session.client, self.factory.entrance))
        return True

    def _time_transaction(self) -> None:
        """Start the clock behind MAIL, and stop it behind the end of the message."""
        self._in_transaction = self._session.has_sender
        longest = self.factory.house.settings.transaction_timeout
        self._dialogue.limit_transaction(longest if self._in_transaction else None)

    async def _take_content(self) -> Reply:
        arrival = DottedArrival(self._session, self.factory.room)
        try:
            while not arrival.done:
                patience = self.factory.house.settings.content_timeout
                arrival.feed(await self._dialogue.octets(patience))
        except BaseException:
            arrival.close()
            raise
        self._dialogue.give_back(arrival.rest)
        return await arrival.finish()

    async def _take_chunk(self, chunk: Chunk) -> Reply:
        """Read the octets of one BDAT, whatever becomes of them, then answer."""
        session = self._session
        if chunk.refusal is None and session.arrival is None:
            session.arrival = ChunkedArrival(session, self.factory.room)
        arrival = session.arrival if chunk.refusal is None else None
        left = chunk.octets
        while left:
            octets = await self._dialogue.octets(self.factory.house.settings.content_timeout)
            if len(octets) > left:
                self._dialogue.give_back(octets[left:])
                octets = octets[:left]
            left -= len(octets)
            if arrival is not None:
                arrival.feed(octets)
        return await session.answer_chunk(chunk)

    async def _answer(self, reply: Reply) -> bool:
        """Write a reply, a refusal perhaps later; False: it was the last one."""
        if reply.refuses and self._session.holds_back(reply):
            await self._dialogue.rest(self.factory.house.settings.tarpit)
        return self._say(reply)

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
        entrance: What comes before the greeting.
    """

    protocol = SmtpProtocol
    noisy = False

    def __init__(
        self,
        house: SmtpHouse,
        room: SpoolRoom,
        clock: IReactorTime,
        admit: Callable[[], bool] = lambda: True,
        entrance: Entrance = OPEN,
    ) -> None:
        super().__init__(house.portal)
        self.entrance = entrance
        self.house = house
        self.room = room
        self.clock = clock
        self.admit = admit
        self.background = Background()
        self.sessions: set[SmtpProtocol] = set()

    def use(self, settings: Settings) -> None:
        """Hold to other settings from now on, in open sessions, too."""
        house = self.house
        house.settings, house.login, house.hostname, house.relay = (
            settings.smtp,
            settings.login,
            settings.shown_name,
            settings.outbound.relay,
        )

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
