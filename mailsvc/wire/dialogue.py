"""
One connection of a line protocol, as a coroutine sees it.

The protocol object feeds in what Twisted gives it; the conversation awaits lines and writes
replies. Lines are handed out one at a time, so commands are answered in order, one in
flight, however they are pipelined; only a shape that needs no waiting can be ``seen`` before.
Replies leave together when the conversation next waits.
"""

import re
from collections.abc import Awaitable, Callable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from mailsvc.background import Pause
from mailsvc.model.channel import PLAIN_TEXT, Channel
from mailsvc.wire.channel import channel_of
from mailsvc.wire.deadline import Deadline
from mailsvc.wire.interruptions import (
    START,
    BareLineFeed,
    HungUp,
    LineTooLong,
    Stopping,
    TimedOut,
)
from mailsvc.wire.transport import TlsTransport, Transport, unread_octets
from mailsvc.wire.turns import look_on

MOST_BUFFERED = 64 * 1024
"""Octets that may wait while a command is being worked on; then reading pauses."""
CLOSE_PATIENCE = 10.0
"""Seconds for a client to say good-bye when it has heard our last words."""
READ_PATIENCE = 60.0
"""Seconds in which a client must read some of our last words."""
LONGEST_CLOSE = 900.0
"""Seconds for all of them: what our kernel holds at most, at 4 KiB a second."""
_NEVER = float("inf")

Eager = Callable[[], bool]
"""
Answers what has come, where nothing must be waited for. True: all of it, and the wait goes on as
if it had just begun; False: the conversation must go on.
"""


@implementer(IPushProducer)
class Dialogue:
    """
    Lines in, replies out, on one connection.

    Args:
        transport: The connection.
        clock: For time-outs.
        longest_line: Octets of one line, CRLF included.
        longest_session: Seconds until the client is sent away whatever it does.
    """

    __slots__ = (
        "_agreed",
        "_at",
        "_blocked",
        "_buffer",
        "_clock",
        "_closing",
        "_deadline",
        "_eager",
        "_ended",
        "_latest",
        "_line_end",
        "_no_more",
        "_out",
        "_paused",
        "_resting",
        "_skipping",
        "_transaction_end",
        "_transport",
        "_waiter",
        "channel",
        "fault",
        "longest_line",
        "session_end",
        "unsent",
    )

    def __init__(
        self,
        transport: Transport,
        clock: IReactorTime,
        longest_line: int,
        longest_session: float = float("inf"),
    ) -> None:
        self._transport = transport
        self._clock = clock
        self.longest_line = longest_line
        self.session_end = clock.seconds() + longest_session
        self._transaction_end = _NEVER
        self._latest = self.session_end
        """When the client is sent away whatever it does."""
        self.channel = PLAIN_TEXT
        """What the client talks over: TLS or not."""
        self.fault: BaseException | None = None
        """Why the connection was lost; None: it was not, or nobody knows."""
        self._agreed = False
        self._buffer = b""
        self._at = 0
        self._out: list[bytes] = []
        self.unsent = 0
        """Octets that were written and not yet flushed."""
        self._line_end = _NEVER
        """When a line that has begun must be whole."""
        self._ended: type[Exception] | None = None
        self._closing = False
        """Whether we have hung up, and the client still reads."""
        self._waiter: Pause | None = None
        self._eager: tuple[Eager, float] | None = None
        """What is asked first when something comes, and seconds of the wait behind that."""
        self._resting: Deferred[None] | None = None
        self._deadline = Deadline(transport, clock, self._be_over)
        self._paused = self._blocked = self._no_more = False
        self._skipping = b""
        transport.registerProducer(self, True)

    # What the protocol object tells us.

    def received(self, octets: bytes) -> None:
        """Take what the client sent; what comes after the end is dropped."""
        if self._ended is not None:
            return
        if self._at < len(self._buffer):
            octets = self._buffer[self._at :] + octets
        self._buffer, self._at = octets, 0
        if self._waiter is not None and not self._blocked:
            if self._eager is not None and self._is_answered(*self._eager):
                return
            self._wake()
        if len(self._buffer) - self._at > MOST_BUFFERED and (self._waiter is None or self._blocked):
            self._pause()

    def lost(self, reason: Failure | None = None) -> None:
        """Note that the connection is gone."""
        self.fault = None if reason is None else reason.value
        self._end(HungUp)
        self._closing = False
        self._deadline.cancel()

    def input_ended(self) -> None:
        """
        Note that the client says nothing more, though it may still listen: ``readConnectionLost``.

        What it has said is answered; a conversation that asks for more loses its connection.
        """
        self._no_more = True
        if self._waiter is not None and not self._blocked:
            self._transport.loseConnection()

    def handshaken(self) -> None:
        """Note that TLS has begun: ``handshakeCompleted`` of the protocol object."""
        self._agreed = True
        self._wake()

    def interrupt(self) -> None:
        """
        Make the conversation hear ``Stopping`` as soon as it waits for the client.

        A client that reads our last words has a few seconds left for them.
        """
        if self._ended is None:
            self._end(Stopping)
        elif self._closing:
            self._closing = False
            self._hurry()

    def pauseProducing(self) -> None:
        """Twisted's buffer is full: the client reads slowly."""
        self._blocked = True

    def resumeProducing(self) -> None:
        """Twisted's buffer is empty again."""
        self._blocked = False
        if self._waiter is not None:
            self._wake()

    def stopProducing(self) -> None:
        """Twisted gave the connection up; ``lost`` follows."""

    # What the conversation asks for.

    async def line(self, timeout: float) -> bytes:
        """
        Wait for the client's next line; give it without its CRLF.

        Args:
            timeout: Seconds of silence that are allowed.

        Raises:
            BadLine: This line is no command; the one behind it can be asked for.
            HungUp, TimedOut, Stopping: There will be no line.
        """
        while (line := self.ready_line()) is None:
            await self.rest_of_line(timeout)
        return line

    def rest_of_line(self, timeout: float, eager: Eager | None = None) -> Awaitable[None]:
        """
        Let the client hear us, and wait for what ``ready_line`` has missed; errors as in ``line``.

        Mostly no coroutine: with short commands it would cost as much as all else here.

        Args:
            timeout: Seconds of silence that are allowed; a line that has begun gets so many in
                all, or its octets, one at a time, would hold the connection for ever.
            eager: Asked first when something comes.
        """
        if self._skipping:
            self._drop_buffer()
        elif len(self._buffer) - self._at > self.longest_line:
            self._skipping = self._buffer[self._at : self._at + START]
            self._drop_buffer()
        if not self._skipping and not self.pending:
            self._line_end = _NEVER
        elif self._line_end == _NEVER:
            self._line_end = self._clock.seconds() + timeout
        if self._blocked or self._paused:
            return self._more(timeout)
        self.flush()
        waiting = self._wait(timeout, latest=self._line_end)
        self._eager = None if eager is None else (eager, timeout)
        return waiting

    def ready_line(self) -> bytes | None:
        """Give the client's next line, as ``line`` does; None: it is not there yet."""
        if self._ended is HungUp:
            raise HungUp  # nobody would hear what became of the lines that are left
        buffer, start = self._buffer, self._at
        end = buffer.find(b"\n", start)
        if end < 0:
            return None
        self._at = end + 1
        self._line_end = _NEVER
        if self._skipping or end + 1 - start > self.longest_line:
            begins, self._skipping = self._skipping or buffer[start : start + START], b""
            raise LineTooLong(begins)
        if end == start or buffer[end - 1] != 13:  # noqa: PLR2004 - CR
            raise BareLineFeed(buffer[start : start + START])
        return buffer[start : end - 1]

    def seen(self, shape: re.Pattern[bytes]) -> bytes:
        """Give the start of what the client has sent, as far as it has a shape; take nothing."""
        if self._skipping or self._ended is HungUp:
            return b""
        found = shape.match(self._buffer, self._at)
        return b"" if found is None else found.group()

    def take(self, octets: int) -> None:
        """Take some octets of what was ``seen``, to the end of a line."""
        self._at += octets
        self._line_end = _NEVER

    async def octets(self, timeout: float) -> bytes:
        """
        Wait for anything the client sends; give all that has come.

        Raises:
            HungUp, TimedOut, Stopping: There will be nothing.
        """
        while self._at >= len(self._buffer):
            await self._more(timeout)
        octets = self._buffer[self._at :] if self._at else self._buffer
        self._drop_buffer()
        return octets

    def limit_transaction(self, longest: float | None) -> None:
        """
        Send the client away when it is not done in time, whatever it does.

        Args:
            longest: Seconds from now; None: there is no hurry any more.
        """
        self._transaction_end = _NEVER if longest is None else self._clock.seconds() + longest
        self._latest = min(self.session_end, self._transaction_end)

    @property
    def is_transaction_over(self) -> bool:
        """Whether the time of ``limit_transaction`` has passed."""
        return self._clock.seconds() >= self._transaction_end

    @property
    def pending(self) -> bool:
        """Whether the client has sent something that nobody has read yet."""
        return self._at < len(self._buffer)

    def seconds(self) -> float:
        """Tell the time as time-outs see it."""
        return self._clock.seconds()

    async def start_tls(self, creator: object, timeout: float, ciphertext: bytes = b"") -> Channel:
        """
        Say what was written and begin TLS; every octet that comes now belongs to it.

        What the client has sent before and nobody has read is dropped: it must never be
        taken for something that came over TLS.

        Args:
            creator: Makes the server's side; TWISTED: IOpenSSLServerConnectionCreator.
            timeout: Seconds for all of it.
            ciphertext: What was read and is the start of TLS.

        Raises:
            HungUp, TimedOut, Stopping: There is no TLS, and the connection is of no use.
        """
        until = self._clock.seconds() + timeout
        await self.send(b"", timeout, strict=True)
        if self._no_more:
            await self._wait(timeout)  # for the end: nobody agrees to anything any more
        self._drop_buffer()
        self._resume()
        transport = cast("TlsTransport", self._transport)
        self._agreed = False
        transport.startTLS(creator)
        if ciphertext:
            transport.protocol.dataReceived(ciphertext)
        while not self._agreed:
            await self._wait(until - self._clock.seconds(), strict=True)
        self.channel = channel_of(transport.getHandle())
        return self.channel

    async def hush(self, seconds: float) -> bool:
        """
        Wait in silence.

        Returns:
            False: the client did not wait; it has sent something.

        Raises:
            HungUp, Stopping: There is nobody to wait for.
        """
        if self._ended is not None:
            raise self._ended
        if self._at >= len(self._buffer):
            waiter = self._waiter = Pause()
            over = self._clock.callLater(seconds, self._wake)
            try:
                await waiter
            finally:
                if over.active():
                    over.cancel()
        return self._at >= len(self._buffer)

    async def rest(self, seconds: float) -> None:
        """
        Say what was written and let time pass; what the client sends must wait.

        It ends at once when the service stops.

        Raises:
            HungUp: The client is gone.
        """
        self.flush()
        if self._ended is None:
            resting = self._resting = Deferred()
            over = self._clock.callLater(seconds, resting.callback, None)
            try:
                await resting
            finally:
                self._resting = None
                if over.active():
                    over.cancel()
        if self._ended is HungUp:
            raise HungUp

    def give_back(self, octets: bytes) -> None:
        """Put octets that were read too far in front of what comes next."""
        if octets:
            self._buffer = octets + self._buffer[self._at :]
            self._at = 0

    def write(self, octets: bytes) -> None:
        """Say something when the conversation next waits."""
        self._out.append(octets)
        self.unsent += len(octets)

    def flush(self) -> None:
        """Say it now."""
        if self._out:
            octets = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self.unsent = 0
            self._transport.write(octets)

    async def send(self, octets: bytes, timeout: float, *, strict: bool = False) -> None:
        """
        Say something long now, and wait while the client is slow to read.

        Args:
            timeout: Seconds in which the client must read something.
            strict: Whether it must read everything in that time.

        Raises:
            HungUp, TimedOut: The client will not read it.
        """
        self.write(octets)
        self.flush()
        if self._ended is HungUp:
            raise HungUp
        until = self._clock.seconds() + timeout
        while self._blocked:
            if strict:
                await self._wait(until - self._clock.seconds(), strict=True)
            else:
                await self._wait(timeout, unread=unread_octets(self._transport))

    def close(self) -> None:
        """
        Say what is left to say and hang up; a client that does not read it is cut off.

        One that reads slowly gets all of it in ``LONGEST_CLOSE``, unless we are in a hurry.
        """
        self.flush()
        how = self._ended
        if how is HungUp:
            return
        now = self._clock.seconds()
        if how is TimedOut and self._blocked and now < self._latest:
            self.abort()  # it has read nothing for long
            return
        self._ended, self._closing = HungUp, how is None
        # TLS waits for the client's good-bye, which stands behind what is dropped now.
        self._resume()
        self._transport.unregisterProducer()
        unread = unread_octets(self._transport)
        self._transport.loseConnection()
        if how is None and unread:
            latest = max(self.session_end, now + CLOSE_PATIENCE)
            self._deadline.begin(READ_PATIENCE, min(latest, now + LONGEST_CLOSE), unread)
        else:
            self._hurry()

    def _hurry(self) -> None:
        """Let a client have a few seconds for our last words, and no more."""
        self._deadline.begin(CLOSE_PATIENCE, self._clock.seconds() + CLOSE_PATIENCE)

    def abort(self) -> None:
        """Hang up at once."""
        self._out.clear()
        self.unsent = 0
        self._end(HungUp)
        self._transport.abortConnection()

    # Between the two.

    def _drop_buffer(self) -> None:
        self._buffer = b""
        self._at = 0

    async def _more(self, timeout: float) -> None:
        """Let the client hear us and wait until it has sent more, however slowly it reads."""
        self.flush()
        if not self._blocked and not self._paused:
            await self._wait(timeout)
            return
        known = len(self._buffer) - self._at
        while self._blocked and self._ended is None:
            await self._wait(timeout)
        if len(self._buffer) - self._at > known:
            return  # it came while the client was slow to read
        if self._ended is None:
            self._resume()
        await self._wait(timeout)

    def _wait(
        self, timeout: float, *, strict: bool = False, unread: int = 0, latest: float = _NEVER
    ) -> Pause:
        """Give the wait for the next thing that happens on the connection."""
        if self._ended is not None:
            raise self._ended
        if self._no_more and not self._blocked:
            self._transport.loseConnection()
        latest = min(self._latest, latest)
        if strict:
            latest = min(latest, self._clock.seconds() + timeout)
        self._deadline.begin(timeout, latest, unread)
        waiter = self._waiter = Pause()
        self._eager = None
        return waiter

    def _is_answered(self, eager: Eager, timeout: float) -> bool:
        """Ask; what goes wrong is the conversation's to hear."""
        try:
            answered = eager()
        except Exception as error:  # noqa: BLE001 - raised where the conversation waits
            waiter, self._waiter = self._waiter, None
            self._deadline.end()
            if waiter is not None:
                waiter.fail(error)
            return True
        if answered and self._waiter is not None:
            self._deadline.begin(timeout, self._latest)
            look_on(self._clock)
        return answered

    def _be_over(self) -> None:
        """Hear that nothing came in time, or that our last words were not read."""
        if self._ended is HungUp:
            self._transport.abortConnection()
        else:
            self._end(TimedOut)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        self._deadline.end()
        if waiter is not None:
            waiter.end()

    def _end(self, how: type[Exception]) -> None:
        self._ended = how
        waiter, self._waiter = self._waiter, None
        self._deadline.end()
        if waiter is not None:
            waiter.fail(how())
        resting, self._resting = self._resting, None
        if resting is not None:
            resting.callback(None)

    def _pause(self) -> None:
        if not self._paused and self._ended is None:
            self._paused = True
            self._transport.pauseProducing()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resumeProducing()
