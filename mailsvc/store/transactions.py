"""Run many writes in one transaction, and each in its own when that fails."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine

from mailsvc.errors import CommandError, MailError, StorageFailed
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


class Work(Protocol):
    """One item to write."""

    @property
    def query(self) -> BatchQuery[Any, Any]:
        """Writes it and its like."""

    @property
    def item(self) -> Any:
        """What to write."""


class Transactions:
    """
    One connection for writing; on one thread only.

    Args:
        engine: Where to write.
        say: Logs what went wrong: a text, and the error in one line.
    """

    def __init__(self, engine: Engine, say: Callable[[str, str], object]) -> None:
        self._engine = engine
        self._say = say
        self._connection: Connection | None = None

    def open(self) -> bool:
        """Connect now, not at the first transaction; False: it said why that is not possible."""
        try:
            self._connection = self._engine.connect()
        except Exception as error:  # noqa: BLE001 - whatever it is, there is nothing to write to
            self._complain("the database cannot be opened", error)
            return False
        return True

    def commit(self, jobs: Sequence[Work]) -> list[Any]:
        """
        Write all in one transaction, or else each in its own; returns after the commit.

        Returns:
            A result or an exception for each, in order.
        """
        try:
            return self._commit(jobs)
        except Exception as error:  # noqa: BLE001 - whoever calls must live: everybody waits for it
            self._connection = None
            self._complain("a fault of ours in the writer", error)
            return [StorageFailed() for _ in jobs]

    def close(self) -> None:
        """Let the connection go."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _commit(self, jobs: Sequence[Work]) -> list[Any]:
        try:
            return self._repeat(jobs)
        except Exception as error:  # noqa: BLE001 - answered to whoever waits
            if is_gone(error):
                self.close()
                self._complain("the database is not there", error)
                return [StorageFailed() for _ in jobs]
            if file_is_locked(error):
                # Singly, each would wait for the lock anew, and its client for all of them.
                self._complain("another program keeps the database locked", error)
                return [StorageFailed() for _ in jobs]
            if len(jobs) == 1:
                if not isinstance(error, MailError | CommandError):
                    self._complain("the database did not take a transaction", error)
                return [to_mail_error(error)]
            undone = f"a transaction of {len(jobs)} items was undone, trying them singly"
            self._complain(undone, error)
            return [self._commit([job])[0] for job in jobs]

    def _repeat(self, jobs: Sequence[Work]) -> list[Any]:
        """Write all, and again when they only lost to another transaction."""
        for _ in range(_MOST_TRIES - 1):
            kept = self._connection is not None
            try:
                return self._transact(jobs)
            except Exception as error:
                if kept and is_gone_before_commit(error):
                    self.close()
                elif not worth_another_try(error):
                    raise
        return self._transact(jobs)

    def _transact(self, jobs: Sequence[Work]) -> list[Any]:
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

    def _complain(self, what: str, error: Exception) -> None:
        self._say(what, _name(error))


def _name(error: Exception) -> str:
    """Say an error in one line, without the statement and its values: they hold mail."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {cause}".splitlines()[0]
