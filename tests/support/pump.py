"""A reactor's thread that a test turns by hand: real threads work, the test takes their answers."""

import time
from collections.abc import Callable, Coroutine
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from zope.interface import implementer

Result = TypeVar("Result")

PATIENCE = 30.0
"""Seconds that anything may take; far more than it takes."""


@implementer(IReactorFromThreads)
class Pump:
    """The part of a reactor that threads call; the test's thread is the reactor's."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def callFromThread(self, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> None:  # noqa: A002 - Twisted's name
        """Let the test's thread call it."""
        self._calls.put(lambda: callable(*args, **kwargs))

    def start(self, work: "Coroutine[Any, Any, Result] | Deferred[Result]") -> "Outcome[Result]":
        """Begin something."""
        return Outcome(self, work)

    def finish(self, work: "Coroutine[Any, Any, Result] | Deferred[Result]") -> Result:
        """Do something to its end; gives its result or raises its error."""
        return self.start(work).result()

    def turn(self, deadline: float) -> None:
        """Do one call, waiting for it until *deadline* on the monotonic clock."""
        try:
            call = self._calls.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            raise AssertionError("nothing more happens, and it still waits") from None
        call()

    def drain(self) -> None:
        """Do all calls that are there already."""
        while not self._calls.empty():
            self._calls.get()()


class Outcome(list["Result | Failure"]):
    """What becomes of some work: empty, then its one result."""

    def __init__(self, pump: Pump, work: "Coroutine[Any, Any, Result] | Deferred[Result]") -> None:
        super().__init__()
        self._pump = pump
        self.answer = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
        """Fires in the end."""
        _ = self.answer.addBoth(self.append)

    def result(self) -> Result:
        """Wait for the result, or raise the error."""
        deadline = time.monotonic() + PATIENCE
        while not self:
            self._pump.turn(deadline)
        if isinstance(self[0], Failure):
            self[0].raiseException()
        return self[0]
