"""
Group commit: everything that waits is written in one transaction.

A commit costs an fsync, whatever is in it. So deliveries queue up while the previous
transaction commits, and the next one takes all that wait: no timer, no delay when idle.
"""

from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from sqlalchemy import Engine
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailsvc.config.settings import DatabaseSettings
from mailsvc.errors import StorageFailed, TooBusy
from mailsvc.store.transactions import BatchQuery, Item, Result, Transactions


class Job:
    """One item that waits for its commit."""

    __slots__ = ("answer", "item", "octets", "query")

    def __init__(self, query: BatchQuery[Any, Any], item: Any, octets: int) -> None:
        self.query = query
        self.item = item
        self.octets = octets
        self.answer: Deferred[Any] = Deferred()


class Writer:
    """
    One thread that owns one connection for writing.

    Args:
        engine: Where to write.
        settings: How much goes into one transaction, and how much may wait.
        call_from_thread: Runs a function on the reactor's thread.
    """

    _log = Logger()

    def __init__(
        self,
        engine: Engine,
        settings: DatabaseSettings,
        call_from_thread: Callable[..., object],
    ) -> None:
        self._settings = settings
        self._call_from_thread = call_from_thread
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._waiting = 0
        self._stopped = False
        self._transactions = Transactions(engine, self._say)
        self._thread = Thread(target=self._run, name="mailsvc writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Commit all that waits, then end the thread; blocks until then."""
        self._stopped = True
        self._queue.put(None)
        self._thread.join()

    @property
    def waiting(self) -> int:
        """How many items wait for their commit."""
        return self._waiting

    def submit(
        self, query: BatchQuery[Item, Result], item: Item, octets: int = 0
    ) -> "Deferred[Result]":
        """
        Write one item together with all others that wait; on the reactor's thread only.

        Args:
            query: Writes it and its like.
            item: What to write.
            octets: Its weight in the limit of a transaction.

        Returns:
            Fires after the commit. Fails with what *query* answered or raised, or with
            ``StorageFailed`` or ``StorageFull`` when the database did not take it.

        Raises:
            TooBusy: Too many wait.
            StorageFailed: The thread was stopped.
        """
        if self._stopped:
            raise StorageFailed
        if self._waiting >= self._settings.waiting_messages:
            raise TooBusy
        self._waiting += 1
        job = Job(query, item, octets)
        self._queue.put(job)
        return job.answer

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            jobs, last = self._collect(first)
            answers = self._transactions.commit(jobs)
            self._call_from_thread(self._settle, jobs, answers)
            if last:
                break
        self._transactions.close()

    def _collect(self, first: Job) -> tuple[list[Job], bool]:
        """Take all that waits, up to the limits; True: it was the last of all."""
        jobs, octets = [first], first.octets
        limits = self._settings
        while len(jobs) < limits.batch_messages and octets < limits.batch_octets:
            try:
                job = self._queue.get_nowait()
            except Empty:
                break
            if job is None:
                return jobs, True
            jobs.append(job)
            octets += job.octets
        return jobs, False

    def _say(self, what: str, error: str) -> None:
        """Log on the reactor's thread: log files are written by that one only."""
        self._call_from_thread(self._log.error, "{what}: {error}", what=what, error=error)

    def _settle(self, jobs: list[Job], answers: list[Any]) -> None:
        """Fire all answers; on the reactor's thread."""
        self._waiting -= len(jobs)
        settle(jobs, answers)


def settle(jobs: Iterable[Job], answers: Iterable[Any]) -> None:
    """Fire the answers of jobs; on the reactor's thread."""
    for job, answer in zip(jobs, answers, strict=True):
        if isinstance(answer, Exception):
            job.answer.errback(answer)
        else:
            job.answer.callback(answer)
