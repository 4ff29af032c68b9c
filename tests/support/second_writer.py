"""The process that commits deliveries, in this one: it works when a test tells it to."""

import pickle
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred

from mailsvc.errors import StorageFailed
from mailsvc.model.ids import IdSource
from mailsvc.store.engine import Engines
from mailsvc.store.transactions import Transactions
from mailsvc.store.writer_process import Batch, WriterProcess


class _Work(NamedTuple):
    query: Any
    item: Any


class SecondWriter(WriterProcess):
    """
    Takes batches as the process does, and writes them on the test's thread.

    Args:
        engines: The database.
    """

    def __init__(self, engines: Engines) -> None:
        super().__init__(None, "", lambda: 0)
        self._ids = IdSource(second=True)
        self._transactions = Transactions(engines.write, lambda *_: None)
        self._asked: Deferred[list[Any]] = Deferred()
        self.there = True
        """Whether it takes anything."""
        self.batches: list[Batch] = []
        """What it was given."""

    @property
    def ready(self) -> bool:
        return self.there

    def start(self) -> None:
        """Do nothing: it is there."""

    async def stop(self) -> None:
        self.there = False

    def write(self, batch: Batch) -> "Deferred[list[Any]]":
        self.batches.append(pickle.loads(pickle.dumps(batch)))  # noqa: S301 - it is the test's
        self._asked = Deferred()
        return self._asked

    def answer(self) -> None:
        """Write the last batch and answer it."""
        self._asked.callback(self._commit())

    def die(self, *, committed: bool) -> None:
        """End without an answer, before or after the commit of the last batch."""
        if committed:
            self._commit()
        self.there = False
        self._asked.errback(StorageFailed())

    def _commit(self) -> list[Any]:
        batch = self.batches[-1]
        queries = [recipe(self._ids) for recipe in batch.recipes]
        answers = self._transactions.commit([_Work(queries[n], item) for n, item in batch.jobs])
        self._transactions.close()
        return answers
