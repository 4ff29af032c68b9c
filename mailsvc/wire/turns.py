"""A reactor that looks at a few connections at a time, and tells when it has done so."""

import errno
import sys
import time
from collections.abc import Callable
from select import EPOLLIN
from typing import Any, cast

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor
from twisted.logger import Logger

ROUND = 16
"""Connections in one turn."""
SOON = 100e-6
"""Seconds that we look for what comes before we sleep, where the last one came as soon."""
_log = Logger()


class TurnReactor(EPollReactor):
    """
    Twisted's epoll reactor, in short turns.

    Twisted serves every connection that has something to say before it looks at anything else:
    with fifty busy ones the answer of the database waits for milliseconds, and nothing is
    written meanwhile. Here it is looked for after a few.

    A client on this machine or on a fast line answers sooner than a processor that sleeps is
    woken. Who expects that can ask us to look on for a moment; we do where the last one came so
    soon, and a moment that brings nothing is the last one until it does again.

    Args:
        seconds: A clock that never goes back.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._lone_before: int | None = None
        self._expects = self._came_soon = False
        self._ends: list[Callable[[], object]] = []
        self.lone: int | None = None
        """The descriptor of the only one that is served in this turn; None: there are more."""
        super().__init__()

    def at_turn_end(self, call: Callable[[], object]) -> None:
        """Call something once, when all that is ready in this turn was served."""
        self._ends.append(call)

    def runUntilCurrent(self) -> None:
        """Serve timers and threads, to the end: a timer set there must not come after the sleep."""
        super().runUntilCurrent()
        self._end_turn()

    def doPoll(self, timeout: float | None) -> None:
        """Serve connections that are ready, turn after turn, until something else is due."""
        while self._serve(timeout) and not (self.threadCallQueue or self._justStopped):
            timeout = self.timeout()
            if timeout == 0 or not self.running:
                break

    def _serve(self, timeout: float | None) -> bool:
        """Serve some; False: a signal came instead."""
        try:
            ready = self._wait(-1 if timeout is None else timeout)
        except OSError as error:
            if error.errno == errno.EINTR:
                return False
            raise
        self.lone = ready[0][0] if len(ready) == 1 else None
        for descriptor, event in ready:
            selectable = self._selectables.get(descriptor)
            if selectable is None:
                continue
            # Without Twisted's context for each event: nothing of ours logs by it.
            if event == EPOLLIN:
                self._read(selectable)
            else:
                self._doReadOrWrite(selectable, descriptor, event)
        self._lone_before, self.lone = self.lone, None
        self._end_turn()
        return True

    doIteration = doPoll

    def look_on(self) -> None:
        """
        Expect more from who is served now: look for it for a moment before the next sleep.

        Only where the last turn was also for it alone, and came as soon. Among several clients
        somebody is mostly there already, and those that come while we sleep are served together.
        """
        self._expects = self.lone is not None and self.lone == self._lone_before

    def _wait(self, timeout: float) -> list[tuple[int, int]]:
        """Give descriptors that are ready, and their events; nothing: the time is over."""
        poll = self._poller.poll
        expects, self._expects = self._expects, False
        if not expects or not timeout:
            return cast("list[tuple[int, int]]", poll(timeout, ROUND))
        seconds = self._seconds
        until = seconds() + SOON
        ready: list[tuple[int, int]] = []
        while self._came_soon and not ready:
            ready = poll(0, ROUND)
            self._came_soon = seconds() < until
        if not ready:
            ready = poll(timeout, ROUND)
            self._came_soon = seconds() < until
        return ready

    def _read(self, selectable: Any) -> None:
        """Let one read; what fails loses its connection, as Twisted has it."""
        try:
            why = selectable.doRead()
        except BaseException as error:  # noqa: BLE001 - it must not take the others with it
            why = error
            _log.failure("a connection failed; it is closed")
        if why:
            self._disconnectSelectable(selectable, why, True)

    def _end_turn(self) -> None:
        while self._ends:
            ends, self._ends = self._ends, []
            for end in ends:
                try:
                    end()
                except Exception:  # noqa: BLE001 - the others would never be heard
                    _log.failure("what was left for the end of a turn failed")


def install() -> None:
    """Be the reactor of this process, unless there is one."""
    if "twisted.internet.reactor" not in sys.modules:
        installReactor(TurnReactor())


def at_turn_end(reactor: Any, call: Callable[[], object]) -> bool:
    """Call something at the end of the turn; False: this reactor does not tell."""
    tell = getattr(reactor, "at_turn_end", None)
    if tell is None:
        return False
    tell(call)
    return True


def look_on(reactor: Any) -> None:
    """Expect more from a client that was answered at once, if this reactor can."""
    expect = getattr(reactor, "look_on", None)
    if expect is not None:
        expect()
