"""
Our end of the process that commits deliveries.

A thread that writes must win the interpreter's lock back from the reactor after each call of
the database, which costs both of them more than the rows. A process has a lock of its own.
"""

import contextlib
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fcntl import F_SETPIPE_SZ, fcntl
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailsvc import __version__
from mailsvc.config.units import MIB
from mailsvc.errors import StorageFailed
from mailsvc.store.portable import Recipe

HEAD = 8
"""Octets in front of each frame: its length."""
REQUESTS, ANSWERS = 3, 4
"""The descriptors of the process's two pipes."""
_PIPE = MIB
"""Octets of a pipe; the most that Linux gives to anybody."""
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
"""Seconds until a process that has ended by itself is started again."""
_PATIENCE = 10.0
"""Seconds that it may take to end."""
_LOOK = 15.0
"""Seconds between two looks at it; what is asked at one must be answered by the next but one."""


class Opening(NamedTuple):
    """
    The first frame that the process gets.

    Args:
        url: The database.
        node: Whose numbers it makes.
        version: Ours; a process of another one would write other rows.
    """

    url: str
    node: int
    version: str = __version__


class Batch(NamedTuple):
    """
    One transaction.

    Args:
        recipes: Of the queries.
        jobs: The index of a recipe, and an item, each.
    """

    recipes: tuple[Recipe, ...]
    jobs: tuple[tuple[int, Any], ...]


class Answers(NamedTuple):
    """
    What became of one transaction; the first one, empty, tells that the process is ready, or
    what keeps it from working.

    Args:
        answers: A result or an exception for each job, in order.
        said: What went wrong, for the log: a text, and the error in one line.
    """

    answers: list[Any]
    said: tuple[tuple[str, str], ...] = ()


def frame(content: object) -> bytes:
    """Write a frame; what is in it comes from this service alone, so pickle may read it."""
    octets = pickle.dumps(content, pickle.HIGHEST_PROTOCOL)
    return len(octets).to_bytes(HEAD, "big") + octets


@dataclass
class WriterProcess:
    """
    Starts the process, and again when it has ended; on the reactor's thread only.

    Args:
        reactor: Twisted's.
        url: The database.
        node: Tells whose numbers it makes.
    """

    reactor: Any
    url: str
    node: Callable[[], int]
    _log = Logger()

    def __post_init__(self) -> None:
        """Wait to be started."""
        self._line: _Line | None = None
        self._wait = _FIRST_WAIT
        self._again: IDelayedCall | None = None
        self._stopped = False
        self._ended: Deferred[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether it can write now; else others must."""
        return self._line is not None and self._line.ready and not self._stopped

    @property
    def pid(self) -> int | None:
        """Its number; None: there is none."""
        return None if self._line is None else self._line.transport.pid

    def start(self) -> None:
        """Start it; it is ready after half a second."""
        self._again = None
        line = _Line(self)
        # Its modules are those of this process, wherever they come from.
        path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            self.reactor.spawnProcess(
                line,
                sys.executable,
                [sys.executable, "-P", "-m", "mailsvc.store.writer_main"],
                env={**os.environ, **path},
                childFDs={0: "w", 1: 1, 2: 2, REQUESTS: "w", ANSWERS: "r"},
            )
        except OSError as error:
            self._try_later(f"could not be started ({error})")
            return
        self._line = line
        line.send(frame(Opening(self.url, self.node())))

    def write(self, batch: Batch) -> "Deferred[list[Any]]":
        """
        Write one transaction; one at a time, and only while it is ready.

        Returns:
            An answer for each job, after the commit. Fails with ``StorageFailed``: the process
            ended, and nobody knows what became of it.

        Raises:
            Exception: The batch cannot be pickled; nothing was sent.
        """
        assert self._line is not None  # noqa: S101 - it is ready
        return self._line.ask(frame(batch))

    async def stop(self) -> None:
        """Let it end, when what it writes is committed."""
        self._stopped = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._line is None:
            return
        self._ended = Deferred()
        late = self.reactor.callLater(_PATIENCE, self._line.kill)
        self._line.hang_up()
        try:
            await self._ended
        finally:
            if late.active():
                late.cancel()

    def said(self, what: str, error: str) -> None:
        """Log what went wrong there."""
        self._log.error("{what}: {error}", what=what, error=error)

    def worked(self) -> None:
        """Trust it again."""
        self._wait = _FIRST_WAIT

    def lost(self, reason: Failure) -> None:
        """Start another one after a while; meanwhile others write."""
        self._line = None
        if not self._stopped:
            self._try_later(f"has ended ({reason.getErrorMessage()})")
        elif self._ended is not None:
            self._ended.callback(None)

    def _try_later(self, why: str) -> None:
        self._log.error(
            "the writer's process {why}; another one is started in {wait:.0f} s",
            why=why,
            wait=self._wait,
        )
        self._again = self.reactor.callLater(self._wait, self.start)
        self._wait = min(2 * self._wait, _LONGEST_WAIT)


class _Line(ProcessProtocol):
    """The pipes to one process, from its start to its end."""

    transport: Any
    _log = Logger()

    def __init__(self, owner: WriterProcess) -> None:
        self._owner = owner
        self._heard = bytearray()
        self._asked: Deferred[list[Any]] | None = None
        self._seen: Deferred[list[Any]] | None = None
        self._look: IDelayedCall | None = None
        self.ready = False

    def send(self, octets: bytes) -> None:
        """Send one frame, now: the reactor's next turn is a millisecond away."""
        pipe = self.transport.pipes.get(REQUESTS)
        if pipe is None:
            return  # it has ended, and we shall hear of it
        sent = pipe.writeSomeData(octets)
        if not isinstance(sent, int):
            sent = 0  # the same
        if sent < len(octets):
            pipe.write(octets[sent:])

    def ask(self, octets: bytes) -> "Deferred[list[Any]]":
        """Send a batch, and wait for what became of it."""
        asked = self._asked = Deferred()
        self.send(octets)
        return asked

    def hang_up(self) -> None:
        """Let the process find the end of its work."""
        self.transport.closeChildFD(REQUESTS)

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def connectionMade(self) -> None:
        """Close what it does not read; let a whole transaction into the pipe, if we may."""
        self.transport.closeChildFD(0)
        with contextlib.suppress(OSError):
            fcntl(self.transport.pipes[REQUESTS].fileno(), F_SETPIPE_SZ, _PIPE)
        self._look_after()

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N803 - Twisted's
        """Take what it answers."""
        del childFD
        self._heard += data
        end = HEAD + int.from_bytes(self._heard[:HEAD], "big")
        if len(self._heard) < max(end, HEAD + 1):
            return
        try:
            answers = Answers._make(pickle.loads(self._heard[HEAD:end]))  # noqa: S301 - it is ours
        except Exception:  # noqa: BLE001 - whoever waits must be answered, by another
            self._log.failure("the writer's process answers what nobody can read; it is ended")
            self.kill()
            return
        del self._heard[:end]
        self._take(answers)

    def childConnectionLost(self, childFD: int) -> None:  # noqa: N803 - Twisted's
        """Ask nothing more of a process that ends."""
        if childFD in {REQUESTS, ANSWERS}:
            self.ready = False

    def processEnded(self, reason: Failure) -> None:
        """Tell whoever waits that nobody knows."""
        self.ready = False
        if self._look is not None:
            self._look.cancel()
        asked, self._asked = self._asked, None
        self._owner.lost(reason)
        if asked is not None:
            asked.errback(StorageFailed())

    def _take(self, answers: Answers) -> None:
        for what, error in answers.said:
            self._owner.said(what, error)
        asked, self._asked = self._asked, None
        if asked is None:
            self.ready = not answers.said
        else:
            self._owner.worked()
            asked.callback(answers.answers)

    def _look_after(self) -> None:
        """End it when it does not answer: it was stopped, or hangs, and everybody waits."""
        if self._asked is not None and self._asked is self._seen:
            self._log.error("the writer's process does not answer; it is ended")
            self.kill()
        self._seen = self._asked
        self._look = self._owner.reactor.callLater(_LOOK, self._look_after)
