"""Two that write one SQLite file in turn: a process for deliveries, a thread for the rest."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailsvc.config.settings import DatabaseSettings
from mailsvc.errors import StorageFailed, TooBusy
from mailsvc.store.portable import PortableQuery, Recipe
from mailsvc.store.transactions import BatchQuery, Item, Result
from mailsvc.store.writer import Job, Writer, settle
from mailsvc.store.writer_process import Batch, WriterProcess

BUSY = 30
"""Items in a second for which a process is worth its memory."""
_WINDOW = 1.0


class TwoWriters:
    """
    Gives the file to one of them at a time, so that neither waits for SQLite's lock.

    Both have a queue; when both wait, they take turns. What cannot go to the process (it is
    large, or no delivery, or the process is not there) is the thread's. There is no process
    before there is much to write, unless the settings want it from the start.

    Args:
        thread: Writes everything.
        process: Writes what is portable.
        settings: How much goes into one transaction, how much may wait, and when the process
            is started.
        seconds: A clock that never goes back.
    """

    _log = Logger()

    def __init__(
        self,
        thread: Writer,
        process: WriterProcess,
        settings: DatabaseSettings,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._since = 0.0
        self._recent = 0
        self._started = False
        self._thread = thread
        self._process = process
        self._settings = settings
        self._letters: deque[Job] = deque()
        self._others: deque[Job] = deque()
        self._waiting = 0
        self._under_way = 0
        self._busy = False
        self._thread_was_last = True
        self._stopped = False
        self._idle: Deferred[None] | None = None

    def start(self) -> None:
        """Start the thread, and the process if it is wanted from the start."""
        self._thread.start()
        if self._settings.writer_process is True:
            self._start_process()

    def _start_process(self) -> None:
        self._started = True
        try:
            self._process.start()
        except Exception:  # noqa: BLE001 - the thread writes everything as well
            self._log.failure("the writer's process could not be started")

    def _count(self) -> None:
        """Start the process when there is much to write."""
        now = self._seconds()
        if now - self._since > _WINDOW:
            self._since, self._recent = now, 0
        self._recent += 1
        if self._recent >= BUSY:
            self._start_process()

    async def rest(self) -> None:
        """Wait until all that waits is committed, and end the process; the thread goes on."""
        self._started = True  # or never: it would be started to be ended
        if self._busy:
            self._idle = Deferred()
            await self._idle
        await self._process.stop()

    def stop(self) -> None:
        """Commit all that waits, then end the thread; blocks until then."""
        self._stopped = True
        waiting = [*self._others, *self._letters]
        self._others.clear()
        self._letters.clear()
        self._give_to_thread(waiting)
        self._thread.stop()

    @property
    def waiting(self) -> int:
        """How many items wait for their commit."""
        return self._waiting

    @property
    def process(self) -> int | None:
        """The number of the process; None: it is not there now."""
        return self._process.pid if self._process.ready else None

    def submit(
        self, query: BatchQuery[Item, Result], item: Item, octets: int = 0
    ) -> "Deferred[Result]":
        """Write one item together with others; as ``Writer.submit``."""
        if self._stopped:
            raise StorageFailed
        if self._waiting >= self._settings.waiting_messages:
            raise TooBusy
        portable = isinstance(query, PortableQuery)
        if portable and not self._started:
            self._count()
        self._waiting += 1
        job = Job(query, item, octets)
        (self._letters if portable and self._process.ready else self._others).append(job)
        if not self._busy:
            self._next()
        return job.answer

    def _next(self) -> None:
        """Let the next one write, when there is something to write."""
        self._busy = False
        if not self._process.ready:
            self._others += self._letters
            self._letters.clear()
        if self._letters and (self._thread_was_last or not self._others):
            self._ship()
        if self._others and not self._busy:
            self._busy = self._thread_was_last = True
            others = tuple(self._others)
            self._others.clear()
            self._give_to_thread(others)
        if not self._busy and self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def _ship(self) -> None:
        """Send a transaction to the process; what it cannot take is the thread's."""
        jobs, batch = self._pack()
        if not jobs:
            return
        try:
            written = self._process.write(batch)
        except Exception:  # noqa: BLE001 - a fault of ours: the thread can write everything
            self._log.failure("a batch could not be sent to the writer's process")
            self._others += jobs
            return
        self._busy, self._thread_was_last = True, False
        _ = written.addCallbacks(
            self._landed, self._failed, callbackArgs=(jobs,), errbackArgs=(jobs,)
        )

    def _pack(self) -> tuple[list[Job], Batch]:
        """Take what goes into one transaction."""
        jobs: list[Job] = []
        recipes: dict[Recipe, int] = {}
        packed: list[tuple[int, Any]] = []
        octets, limits, letters = 0, self._settings, self._letters
        while letters and len(jobs) < limits.batch_messages and octets < limits.batch_octets:
            job = letters.popleft()
            query: PortableQuery = job.query  # type: ignore[assignment]  # submit has looked
            parcel = self._parcel(query, job.item)
            if parcel is None:
                self._others.append(job)
                continue
            jobs.append(job)
            packed.append((recipes.setdefault(query.recipe, len(recipes)), parcel))
            octets += job.octets
        return jobs, Batch(tuple(recipes), tuple(packed))

    def _parcel(self, query: PortableQuery, item: Any) -> Any | None:
        try:
            return query.parcel(item)
        except Exception:  # noqa: BLE001 - the thread will find out, and tell whoever waits
            self._log.failure("an item could not be made ready for the writer's process")
            return None

    def _landed(self, answers: list[Any], jobs: list[Job]) -> None:
        """Let the next one write before those who wait here are told: it takes them a while."""
        self._waiting -= len(jobs)
        self._next()
        settle(jobs, answers)

    def _failed(self, _: Failure, jobs: list[Job]) -> None:
        """Let the thread find out what is written, and write the rest, before anybody else does."""
        self._thread_was_last = True
        try:
            self._give_to_thread(jobs, again=True)
        except StorageFailed:
            self._landed([StorageFailed() for _ in jobs], jobs)

    def _give_to_thread(self, jobs: Iterable[Job], *, again: bool = False) -> None:
        for job in jobs:
            query = job.query.again if again else job.query  # type: ignore[attr-defined]  # portable
            written = self._thread.submit(query, job.item, job.octets)
            self._under_way += 1
            _ = written.addBoth(self._answered, job)

    def _answered(self, answer: Any, job: Job) -> None:
        """Pass an answer of the thread on; with the last one its turn is over."""
        self._waiting -= 1
        self._under_way -= 1
        if not self._under_way:
            self._next()
        if isinstance(answer, Failure):
            job.answer.errback(answer)
        else:
            job.answer.callback(answer)
