"""A reactor that looks at a few connections at a time, and tells when it has done so."""

import errno
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor
from twisted.logger import Logger

ROUND = 16
"""Connections in one turn."""
_LOGGED = Logger().failureHandler("what was left for the end of a turn failed")


class TurnReactor(EPollReactor):
    """
    Twisted's epoll reactor, in short turns.

    Twisted serves every connection that has something to say before it looks at anything else:
    with fifty busy ones the answer of the database waits for milliseconds, and nothing is
    written meanwhile. Here it is looked for after a few.
    """

    def __init__(self) -> None:
        self._ends: list[Callable[[], object]] = []
        super().__init__()

    def at_turn_end(self, call: Callable[[], object]) -> None:
        """Call something once, when all that is ready in this turn was served."""
        self._ends.append(call)

    def runUntilCurrent(self) -> None:
        """Serve timers and threads, to the end: a timer set there must not come after the sleep."""
        super().runUntilCurrent()
        self._end_turn()

    def doPoll(self, timeout: float | None) -> None:
        """Serve some connections that are ready."""
        try:
            ready = self._poller.poll(-1 if timeout is None else timeout, ROUND)
        except OSError as error:
            if error.errno == errno.EINTR:
                return
            raise
        for descriptor, event in ready:
            selectable = self._selectables.get(descriptor)
            if selectable is not None:
                # Without Twisted's context for each event: nothing of ours logs by it.
                self._doReadOrWrite(selectable, descriptor, event)
        self._end_turn()

    doIteration = doPoll

    def _end_turn(self) -> None:
        while self._ends:
            ends, self._ends = self._ends, []
            for end in ends:
                with _LOGGED:
                    end()


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
