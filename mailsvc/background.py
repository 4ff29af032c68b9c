"""Work that nobody waits for: it is logged when it fails and can be cancelled together."""

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

Result = TypeVar("Result")


def begin(work: Coroutine[Deferred[Any], Any, Result]) -> "Result | Deferred[Result]":
    """
    Run *work* until it first waits: what never waits needs no Deferred.

    Raises:
        Exception: What *work* raises before it waits.
    """
    try:
        waiting = work.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    return Deferred.fromCoroutine(_finish(_Begun(work, waiting)))


async def _finish(begun: "_Begun[Result]") -> Result:
    return await begun


class _Begun(Generic[Result]):
    """Work that waits for the first time; the rest of ``await`` on it."""

    def __init__(self, work: Coroutine[Deferred[Any], Any, Result], waiting: Deferred[Any]) -> None:
        self._work = work
        self._waiting = waiting

    def __await__(self) -> Generator[Deferred[Any], Any, Result]:
        step: Callable[[Any], Deferred[Any]]
        while True:
            try:
                argument = yield self._waiting
            except BaseException as error:  # noqa: BLE001 - it is the work's to answer
                step, argument = self._work.throw, error
            else:
                step = self._work.send
            try:
                self._waiting = step(argument)
            except StopIteration as done:
                result: Result = done.value
                return result


class Background:
    """Owns the coroutines that were started without a caller to answer to."""

    _log = Logger()

    def __init__(self) -> None:
        self._running: set[Deferred[Any]] = set()

    def start(self, work: Coroutine[Deferred[Any], Any, Any], name: str) -> None:
        """Start *work*; *name* stands in the log when it fails."""
        running = Deferred.fromCoroutine(work)
        self._running.add(running)

        def done(result: object) -> None:
            self._running.discard(running)
            if isinstance(result, Failure) and not result.check(CancelledError):
                self._log.failure("{name} failed", failure=result, name=name)

        _ = running.addBoth(done)

    def __len__(self) -> int:
        """Count what is still running."""
        return len(self._running)

    async def drain(self) -> None:
        """Wait until everything that runs now has ended."""
        while self._running:
            waiting: list[Deferred[None]] = []
            for running in self._running:
                ended: Deferred[None] = Deferred()
                _ = running.addBoth(_pass_and_tell, ended)
                waiting.append(ended)
            await DeferredList(waiting)

    async def drain_within(self, clock: IReactorTime, seconds: float) -> None:
        """Do the same; what has not ended after some seconds is cancelled."""
        late = clock.callLater(seconds, self.cancel)
        try:
            await self.drain()
        finally:
            if late.active():
                late.cancel()

    def cancel(self) -> None:
        """Cancel everything that still runs."""
        for running in tuple(self._running):
            running.cancel()


def _pass_and_tell(result: Any, ended: "Deferred[None]") -> Any:
    ended.callback(None)
    return result
