"""The process that commits deliveries: reads batches, writes them, answers; nothing else."""

import pickle
import signal
from collections.abc import Sequence
from contextlib import suppress
from os import fdopen
from typing import IO, Any, NamedTuple

from mailsvc import __version__
from mailsvc.errors import StorageFailed
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
    octets = int.from_bytes(requests.read(HEAD), "big")
    content = requests.read(octets)
    if not content or len(content) < octets:
        return None  # Our master has died in the midst of a word.
    return pickle.loads(content)  # noqa: S301 - it is our master's


def _write(answers: IO[bytes], octets: bytes) -> None:
    """Write all of a frame: a large one may take the system several goes."""
    answers.write(octets)
    answers.flush()


def main() -> None:
    """Work until the pipe is closed."""
    # Both go to the whole group, or to every process of a unit: our master tells us when to end.
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    # When our master is gone nobody wants the answers: that is an end as good as any.
    with (
        suppress(BrokenPipeError),
        fdopen(REQUESTS, "rb") as requests,
        fdopen(ANSWERS, "wb") as answers,
    ):
        opening = _read(requests)
        if opening is not None:
            serve(Opening._make(opening), requests, answers)


def serve(opening: Opening, requests: IO[bytes], answers: IO[bytes]) -> None:
    """
    Write batches until there are none.

    Args:
        opening: Which database.
        requests: Frames of batches.
        answers: Gets a frame at the start, and one for each batch.

    Raises:
        BrokenPipeError: Nobody wants the answers.
    """
    engines = open_engines(opening.url, 1, 1)
    said: list[tuple[str, str]] = []
    transactions = Transactions(engines.write, lambda what, error: said.append((what, error)))
    kitchen = Kitchen(IdSource(opening.node, second=True))
    try:
        opened = _is_ours(opening, said) and transactions.open()
        _write(answers, frame(Answers([], tuple(said))))
        while opened and (batch := _read(requests)) is not None:
            said.clear()
            done = transactions.commit(kitchen.jobs(Batch._make(batch)))
            _write(answers, framed(done, said))
    finally:
        transactions.close()
        engines.close()


def _is_ours(opening: Opening, said: list[tuple[str, str]]) -> bool:
    """Whether our master is of our version; its files may have been replaced while it ran."""
    if opening.version != __version__:
        said.append(
            ("the writer's process cannot work", f"mailsvc {__version__} is here: start it anew")
        )
    return opening.version == __version__


def framed(answers: list[Any], said: Sequence[tuple[str, str]]) -> bytes:
    """Make the frame of a batch's answers; what cannot be sent becomes a fault of ours."""
    told = [one if _travels(one) else StorageFailed() for one in answers]
    return frame(Answers(told, tuple(said)))


def _travels(answer: Any) -> bool:
    """Whether an answer arrives; errors may lack what they are made of."""
    if not isinstance(answer, Exception):
        return True
    try:
        pickle.loads(pickle.dumps(answer))  # noqa: S301 - it is ours
    except Exception:  # noqa: BLE001 - that is the question
        return False
    return True


if __name__ == "__main__":
    main()
