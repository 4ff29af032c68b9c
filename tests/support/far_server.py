"""A server on the other end of our client, in memory: says what a test tells it to."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from mailsvc.outbound.answers import LONGEST_LINE
from mailsvc.outbound.client import Conversation, Patience
from mailsvc.wire.dialogue import Dialogue

Result = TypeVar("Result")
EVERYTHING = ("PIPELINING", "SIZE 1000000", "8BITMIME", "SMTPUTF8", "DSN")


class FarServer(StringTransport):
    """
    Answers like a server that works, but for what it was told.

    Args:
        extensions: What EHLO offers.
        say: Replies by the start of a command, or ``content`` for the end of a message,
            ``greeting`` for the first; None: silence. ``cut``: hangs up.
        step: Octets of its replies that travel together; 0: all.
    """

    def __init__(
        self,
        extensions: Iterable[str] = EVERYTHING,
        say: dict[str, str | None] | None = None,
        step: int = 0,
    ) -> None:
        super().__init__()
        self.clock = Clock()
        self.extensions = tuple(extensions)
        self.say = say or {}
        self.step = step
        self.heard: list[str] = []
        self.messages: list[bytes] = []
        self.gone = False
        self._buffer = b""
        self._text: bytes | None = None
        self._chunk: int | None = None
        self._replies = b""
        self.dialogue = Dialogue(self, self.clock, LONGEST_LINE)
        self.conversation = Conversation(self.dialogue, "mail.test.com", Patience())

    def run(self, work: Coroutine[Any, Any, Result], seconds: float = 2000.0) -> Result:
        """Let a coroutine talk to it until its end."""
        outcome: list[Result | Failure] = []
        if not self.heard and not self.messages:
            self._answer("greeting", "220 far.example ESMTP")
        _ = Deferred.fromCoroutine(work).addBoth(outcome.append)
        for _ in range(int(seconds)):
            self._carry()
            if outcome:
                break
            self.clock.advance(1)
        assert outcome, "it still waits"
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]

    def _carry(self) -> None:
        while self._replies and not self.gone:
            some = self.step or len(self._replies)
            piece, self._replies = self._replies[:some], self._replies[some:]
            self.dialogue.received(piece)

    def write(self, data: bytes) -> None:
        """Hear what the client says."""
        super().write(data)
        self._buffer += data
        while self._take():
            pass

    def _take(self) -> bool:
        if self._chunk is not None:
            if len(self._buffer) < self._chunk:
                return False
            content, self._buffer = self._buffer[: self._chunk], self._buffer[self._chunk :]
            self._chunk = None
            self._got(content)
            return True
        if self._text is not None:
            whole, end, rest = (b"\r\n" + self._buffer).partition(b"\r\n.\r\n")
            if not end:
                return False
            self._text, self._buffer = None, rest
            self._got((whole + b"\r\n").replace(b"\r\n.", b"\r\n")[2:] if whole else b"")
            return True
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            return False
        self._buffer = rest
        self._command(line.decode())
        return True

    def _got(self, content: bytes) -> None:
        self.messages.append(content)
        self._answer("content", "250 2.0.0 queued")

    def _command(self, line: str) -> None:
        self.heard.append(line)
        verb = line.split(" ", maxsplit=1)[0]
        if verb == "EHLO":
            offered = ["far.example", *self.extensions]
            lines = [f"250-{one}" for one in offered[:-1]] + [f"250 {offered[-1]}"]
            self._answer("EHLO", "\r\n".join(lines), line)
        elif verb == "BDAT":
            self._chunk = int(line.split()[1])
        elif verb == "DATA":
            if self._answer("DATA", "354 go on", line).startswith("354"):
                self._text = b""
        else:
            self._answer(verb, {"QUIT": "221 bye"}.get(verb, "250 ok"), line)

    def _answer(self, kind: str, usual: str, line: str = "") -> str:
        keys = [key for key in self.say if line.startswith(key) or key == kind]
        reply = self.say[keys[-1]] if keys else usual
        if reply == "cut":
            self.gone = True
            self.clock.callLater(0, self.dialogue.lost, Failure(ConnectionDone()))
        elif reply is not None:
            self._replies += reply.encode("utf-8") + b"\r\n"
        return reply or ""

    def abortConnection(self) -> None:
        """Note that the client hung up."""
        super().abortConnection()
        self.gone = True


def pieces_of(content: bytes, step: int = 7) -> Callable[[], AsyncIterator[bytes]]:
    """Give content in pieces."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), step):
            yield content[start : start + step]

    return pieces
