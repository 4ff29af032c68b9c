"""Work that nobody waits for: it is logged when it fails and can be cancelled together."""

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
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
            except GeneratorExit:
                # Whoever collects garbage may have closed the work before.
                self._work.close()
                raise
            except BaseException as error:  # noqa: BLE001 - it is the work's to answer
                step, argument = self._work.throw, error
            else:
                step = self._work.send
            try:
                self._waiting = step(argument)
            except StopIteration as done:
                result: Result = done.value
                return result


class Pause(Deferred[None]):
    """
    A wait for one thing, which is mostly cheaper than a Deferred: work of ``Background`` that
    awaits it goes on at once when it is over. Everywhere else it is a Deferred.
    """

    run: "_Run | None" = None
    """Who waits; None: nobody does, or not in ``Background``."""
    over = False
    """Whether whoever waited goes on already."""

    def __await__(self) -> Generator[Deferred[None], Any, None]:
        """Wait for ``end`` or ``fail``."""
        if self.called:
            yield from super().__await__()
        else:
            yield self

    def end(self) -> None:
        """Let the work go on; a work that was cancelled does not hear of it."""
        run, self.run = self.run, None
        if run is not None:
            self.over = True
            run.step(run.work.send, None)
        elif not self.over:
            self.callback(None)

    def fail(self, error: Exception) -> None:
        """Raise an error where the work waits; as ``end``."""
        run, self.run = self.run, None
        if run is not None:
            self.over = True
            run.step(run.work.throw, error)
        elif not self.over:
            self.errback(error)


class _Run:
    """
    Drives one coroutine, as ``Deferred.fromCoroutine`` does.

    Args:
        work: What is driven.
        done: Called once at the end, with the error or None.
    """

    __slots__ = ("_done", "_waiting", "work")

    def __init__(
        self,
        work: Coroutine[Deferred[Any], Any, Any],
        done: Callable[["_Run", BaseException | None], object],
    ) -> None:
        self.work = work
        self._done = done
        self._waiting: Deferred[Any] | None = None

    def cancel(self) -> None:
        """Raise ``CancelledError`` where the work waits."""
        waiting = self._waiting
        if isinstance(waiting, Pause):
            waiting.fail(CancelledError())
        elif waiting is not None:
            waiting.cancel()

    def step(self, step: Callable[[Any], Deferred[Any]], argument: Any) -> None:
        """Go on, by ``send`` or ``throw`` of the work, until the next wait or the end."""
        while True:
            self._waiting = None
            try:
                waiting = step(argument)
            except StopIteration:
                self._done(self, None)
                return
            except BaseException as error:  # noqa: BLE001 - told at the end, like any result
                self._done(self, error)
                return
            self._waiting = waiting
            if type(waiting) is Pause:
                waiting.run = self
                return
            # A result that is there already must not make the stack grow.
            there: list[Any] = []
            _ = waiting.addBoth(self._answer, there)
            if not there:
                there.append(self)
                return
            step, argument = self._next(there[0])

    def _answer(self, result: Any, there: list[Any]) -> None:
        if there:
            self.step(*self._next(result))
        else:
            there.append(result)

    def _next(self, result: Any) -> tuple[Callable[[Any], Deferred[Any]], Any]:
        if isinstance(result, Failure):
            return self.work.throw, result.value
        return self.work.send, result


class Background:
    """Owns the coroutines that were started without a caller to answer to."""

    _log = Logger()

    def __init__(self) -> None:
        self._running: dict[_Run, str] = {}
        self._drained: list[Deferred[None]] = []

    def start(self, work: Coroutine[Deferred[Any], Any, Any], name: str) -> None:
        """Start *work*; *name* stands in the log when it fails."""
        run = _Run(work, self._done)
        self._running[run] = name
        run.step(work.send, None)

    def _done(self, run: _Run, error: BaseException | None) -> None:
        name = self._running.pop(run)
        if error is not None and not isinstance(error, CancelledError):
            self._log.failure("{name} failed", failure=Failure(error), name=name)
        if not self._running:
            drained, self._drained = self._drained, []
            for one in drained:
                one.callback(None)

    def __len__(self) -> int:
        """Count what is still running."""
        return len(self._running)

    async def drain(self) -> None:
        """Wait until everything has ended."""
        while self._running:
            drained: Deferred[None] = Deferred()
            self._drained.append(drained)
            await drained

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
        for run in tuple(self._running):
            run.cancel()
