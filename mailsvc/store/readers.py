"""A few threads that ask the database, each on a connection of its own."""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailsvc.errors import StorageFailed
from mailsvc.store.faults import is_gone, to_mail_error

Result = TypeVar("Result")

_Ask = Callable[[Connection], Any]


class Readers:
    """
    Runs queries on threads and fires their answers on the reactor's thread.

    Twisted's own thread pool costs as much as a small query: it asks a coordinator for a
    worker each time. Here the threads wait at one queue, and each keeps its connection,
    which commits by itself: every statement sees one moment.

    Args:
        engine: Where to read.
        count: Threads and connections.
        call_from_thread: Runs a function on the reactor's thread.
        name: What the threads are called.
    """

    def __init__(
        self,
        engine: Engine,
        count: int,
        call_from_thread: Callable[..., object],
        name: str = "reader",
    ) -> None:
        self._engine = engine
        self._call_from_thread = call_from_thread
        self._queue: SimpleQueue[tuple[_Ask, Deferred[Any]] | None] = SimpleQueue()
        self._stopped = False
        self._threads = [
            Thread(target=self._run, name=f"mailsvc {name} {number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Answer all that waits, then end the threads; blocks until then."""
        self._stopped = True
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def ask(self, query: Callable[[Connection], Result]) -> "Deferred[Result]":
        """
        Run *query* on some thread; on the reactor's thread only.

        Raises:
            StorageFailed: The threads were stopped.
        """
        if self._stopped:
            raise StorageFailed
        answer: Deferred[Result] = Deferred()
        self._queue.put((query, answer))
        return answer

    def _run(self) -> None:
        seat = _Seat(self._engine)
        while (job := self._queue.get()) is not None:
            query, answer = job
            try:
                found = seat.ask(query)
            except Exception as error:  # noqa: BLE001 - answered to whoever waits
                fault = to_mail_error(error)
                fault.__cause__ = None if fault is error else error
                self._call_from_thread(answer.errback, Failure(fault))
            else:
                self._call_from_thread(answer.callback, found)
        seat.leave()


class _Seat:
    """One thread's connection, made when it is needed and kept until it is lost."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def ask(self, query: _Ask) -> Any:
        """Ask once, and once more on a new connection when the kept one turns out lost."""
        kept = self._connection is not None
        try:
            return self._ask(query)
        except Exception as error:
            if not kept or not is_gone(error):
                raise
        return self._ask(query)

    def leave(self) -> None:
        """End the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def _ask(self, query: _Ask) -> Any:
        if self._connection is None:
            self._connection = self._engine.connect()
        try:
            return query(self._connection)
        except Exception as error:
            if is_gone(error):
                self.leave()
            raise
