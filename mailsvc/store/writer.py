"""
Group commit: everything that waits is written in one transaction.

A commit costs an fsync, whatever is in it. So deliveries queue up while the previous
transaction commits, and the next one takes all that wait: no timer, no delay when idle.
"""

from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailsvc.config.settings import DatabaseSettings
from mailsvc.errors import CommandError, MailError, StorageFailed, TooBusy
from mailsvc.store.faults import (
    file_is_locked,
    is_gone,
    is_gone_before_commit,
    to_mail_error,
    worth_another_try,
)

_MOST_TRIES = 5

Item = TypeVar("Item")
Result = TypeVar("Result")

BatchQuery = Callable[[Connection, Sequence[Item]], Sequence[Result | Exception]]
"""
Writes many items of one kind at once.

Answers one result or one exception for each item, in order; an exception that it answers
has written nothing for its item. An exception that it raises undoes the whole transaction,
which is then tried again item by item, so that one bad item fails alone.
"""


class _Job:
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
        self._engine = engine
        self._settings = settings
        self._call_from_thread = call_from_thread
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._waiting = 0
        self._stopped = False
        self._connection: Connection | None = None
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
        job = _Job(query, item, octets)
        self._queue.put(job)
        return job.answer

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            jobs, last = self._collect(first)
            try:
                answers = self._commit(jobs)
            except Exception as error:  # noqa: BLE001 - the thread must live: everybody waits for it
                self._connection = None
                self._say("a fault of ours in the writer", error)
                answers = [StorageFailed() for _ in jobs]
            self._call_from_thread(self._settle, jobs, answers)
            if last:
                break
        self._drop_connection()

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _collect(self, first: _Job) -> tuple[list[_Job], bool]:
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

    def _commit(self, jobs: list[_Job]) -> list[Any]:
        """Write all in one transaction, or else each in its own."""
        try:
            return self._repeat(jobs)
        except Exception as error:  # noqa: BLE001 - answered to whoever waits
            if is_gone(error):
                self._drop_connection()
                self._say("the database is not there", error)
                return [StorageFailed() for _ in jobs]
            if file_is_locked(error):
                # Singly, each would wait for the lock anew, and its client for all of them.
                self._say("another program keeps the database locked", error)
                return [StorageFailed() for _ in jobs]
            if len(jobs) == 1:
                if not isinstance(error, MailError | CommandError):
                    self._say("the database did not take a transaction", error)
                return [to_mail_error(error)]
            self._say(f"a transaction of {len(jobs)} items was undone, trying them singly", error)
            return [self._commit([job])[0] for job in jobs]

    def _repeat(self, jobs: list[_Job]) -> list[Any]:
        """Write all, and again when they only lost to another transaction."""
        for _ in range(_MOST_TRIES - 1):
            kept = self._connection is not None
            try:
                return self._transact(jobs)
            except Exception as error:
                if kept and is_gone_before_commit(error):
                    self._drop_connection()
                elif not worth_another_try(error):
                    raise
        return self._transact(jobs)

    def _say(self, what: str, error: Exception) -> None:
        """Log on the reactor's thread: log files are written by that one only."""
        self._call_from_thread(self._log.error, "{what}: {error}", what=what, error=_name(error))

    def _transact(self, jobs: list[_Job]) -> list[Any]:
        """Run one transaction; jobs of one kind go down together."""
        kinds: dict[BatchQuery[Any, Any], list[int]] = {}
        for index, job in enumerate(jobs):
            kinds.setdefault(job.query, []).append(index)
        answers: list[Any] = [None] * len(jobs)
        if self._connection is None:
            self._connection = self._engine.connect()
        with self._connection.begin():
            for query, indexes in kinds.items():
                found = query(self._connection, [jobs[index].item for index in indexes])
                for index, answer in zip(indexes, found, strict=True):
                    answers[index] = answer
        return answers

    def _settle(self, jobs: list[_Job], answers: list[Any]) -> None:
        """Fire all answers; on the reactor's thread."""
        self._waiting -= len(jobs)
        for job, answer in zip(jobs, answers, strict=True):
            if isinstance(answer, Exception):
                job.answer.errback(answer)
            else:
                job.answer.callback(answer)


def _name(error: Exception) -> str:
    """Say an error in one line, without the statement and its values: they hold mail."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {cause}".splitlines()[0]
