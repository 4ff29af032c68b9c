"""The process that commits deliveries: reads batches, writes them, answers; nothing else."""

import os
import pickle
import signal
from typing import IO, Any, NamedTuple

from mailsvc.model.ids import IdSource
from mailsvc.store.engine import open_engines
from mailsvc.store.portable import Recipe
from mailsvc.store.transactions import BatchQuery, Transactions
from mailsvc.store.writer_process import ANSWERS, HEAD, REQUESTS, Answers, Batch, Opening, frame


class _Job(NamedTuple):
    query: BatchQuery[Any, Any]
    item: Any


class Kitchen:
    """Makes each query once."""

    def __init__(self, ids: IdSource) -> None:
        self._ids = ids
        self._made: dict[Recipe, BatchQuery[Any, Any]] = {}

    def jobs(self, batch: Batch) -> list[_Job]:
        """Make the jobs of a batch."""
        queries = [self._query(recipe) for recipe in batch.recipes]
        return [_Job(queries[number], item) for number, item in batch.jobs]

    def _query(self, recipe: Recipe) -> BatchQuery[Any, Any]:
        known = self._made.get(recipe)
        if known is None:
            known = self._made[recipe] = recipe(self._ids)
        return known


def _read(requests: IO[bytes]) -> Any | None:
    """Read a frame; None: there will be none, for our master is gone or wants us to end."""
    head = requests.read(HEAD)
    octets = requests.read(int.from_bytes(head, "big"))
    return pickle.loads(octets) if octets else None  # noqa: S301 - it is our master's


def main() -> None:
    """Work until the pipe is closed."""
    # Both go to the whole group, or to every process of a unit: our master tells us when to end.
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    with os.fdopen(REQUESTS, "rb") as requests, os.fdopen(ANSWERS, "wb", buffering=0) as answers:
        opening = _read(requests)
        if opening is None:
            return
        _work(Opening._make(opening), requests, answers)


def _work(opening: Opening, requests: IO[bytes], answers: IO[bytes]) -> None:
    engines = open_engines(opening.url, 1, 1)
    said: list[tuple[str, str]] = []
    transactions = Transactions(engines.write, lambda what, error: said.append((what, error)))
    kitchen = Kitchen(IdSource(opening.node, second=True))
    answers.write(frame(Answers([])))
    while (batch := _read(requests)) is not None:
        done = transactions.commit(kitchen.jobs(Batch._make(batch)))
        answers.write(frame(Answers(done, tuple(said))))
        said.clear()
    transactions.close()
    engines.close()


if __name__ == "__main__":
    main()
