"""Checkpoints beside the writer: the log moves into the file, and no answer waits for it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import Connection
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailsvc.config.settings import DatabaseSettings
from mailsvc.config.units import KIB, MIB
from mailsvc.errors import StorageFailed
from mailsvc.store.checkpoints import EVERY, Checkpoints
from mailsvc.store.readers import Readers
from tests.support.mail_store import running
from tests.support.pump import Pump


class _Thread:
    """Notes what is asked, and answers when the test likes."""

    def __init__(self) -> None:
        self.asked: list[Deferred[None]] = []
        self.stopped = False

    def stop(self) -> None:
        """Take no more."""
        self.stopped = True

    def ask(self, _query: Callable[[Connection], None]) -> Deferred[None]:
        """Note it."""
        assert not self.stopped
        self.asked.append(Deferred())
        return self.asked[-1]


class TestTimes:
    """When a checkpoint is made."""

    def test_one_at_a_time_and_a_pause_in_between(self) -> None:
        """In the pause the writer can make its own: the log does not grow for ever."""
        thread = _Thread()
        checkpoints = Checkpoints(cast("Readers", thread))

        checkpoints.count(EVERY // 2)
        assert not thread.asked
        for _ in range(10):
            checkpoints.count(EVERY // 2)
        assert len(thread.asked) == 1
        thread.asked[0].callback(None)
        checkpoints.count(EVERY // 2)
        assert len(thread.asked) == 1
        checkpoints.count(EVERY // 2)
        assert len(thread.asked) == 2

    def test_one_that_failed_is_made_up_for(self) -> None:
        """A full disk: what is in the log is safe, and the next one tries again."""
        thread = _Thread()
        checkpoints = Checkpoints(cast("Readers", thread))

        checkpoints.count(EVERY)
        thread.asked[0].errback(Failure(StorageFailed()))
        checkpoints.count(EVERY)

        assert len(thread.asked) == 2

    def test_none_after_the_end(self) -> None:
        """The answer of the last transaction comes when the threads have ended."""
        thread = _Thread()
        checkpoints = Checkpoints(cast("Readers", thread))

        checkpoints.stop()
        checkpoints.count(EVERY)

        assert not thread.asked


@pytest.fixture
def pump() -> Pump:
    """Be the reactor."""
    return Pump()


@pytest.fixture
def log(database_url: str) -> Path:
    """Name the write-ahead log."""
    return Path(database_url.removeprefix("sqlite:///") + "-wal")


@pytest.mark.parametrize("kind", ["sqlite"])
class TestLog:
    """The log on the disk."""

    def test_it_is_bounded_under_a_load_without_pause(
        self, database_url: str, log: Path, pump: Pump
    ) -> None:
        """Three times its bound goes through it, on a busy machine too; readers see all of it."""
        largest = 0
        with running(database_url, pump, settings=DatabaseSettings(readers=1)) as database:
            for number in range(400):
                pump.finish(database.write_batch(_fill, number, octets=MIB))
                largest = max(largest, log.stat().st_size)
            assert pump.finish(database.run(_count)) == 400

        assert largest < 128 * MIB


def _fill(conn: Connection, numbers: Sequence[int]) -> list[None]:
    conn.exec_driver_sql("CREATE TABLE IF NOT EXISTS filling (number INTEGER, body BLOB)")
    for number in numbers:
        conn.exec_driver_sql("INSERT INTO filling VALUES (?, zeroblob(?))", (number, 1024 * KIB))
    return [None] * len(numbers)


def _count(conn: Connection) -> int:
    return int(conn.exec_driver_sql("SELECT count(*) FROM filling").scalar_one())
