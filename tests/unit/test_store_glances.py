"""Small queries on the reactor's thread."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailsvc.store.engine import Engines, open_engines
from mailsvc.store.glances import REST, SLOW, Glances


class Desk:
    """One who looks, and a clock."""

    def __init__(self, engines: Engines) -> None:
        self.now = 0.0
        self.takes = 0.0
        self.glances = Glances(engines.read, lambda: self.now)

    def look(self) -> int | None:
        """Ask something."""
        return self.glances.look(self._answer)

    def _answer(self, conn: sqlite3.Connection) -> int:
        self.now += self.takes
        answer: int = conn.execute("SELECT 7").fetchone()[0]
        return answer


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Look into a database of SQLite."""
    engines = open_engines(f"sqlite:///{tmp_path / 'test.db'}", 1, 1)
    made = Desk(engines)
    yield made
    made.glances.close()
    engines.close()


def test_it_answers_at_once(desk: Desk) -> None:
    """Without a thread, again and again on one connection."""
    assert [desk.look() for _ in range(3)] == [7, 7, 7]


def test_a_slow_disk_is_left_to_the_threads(desk: Desk) -> None:
    """One query may be slow; the next ones do not hold the others up."""
    desk.takes = 2 * SLOW

    assert [desk.look(), desk.look()] == [7, None]

    desk.takes = 0.0
    desk.now += REST
    assert desk.look() == 7


def test_an_error_is_left_to_the_threads(desk: Desk) -> None:
    """They ask again and say what is wrong; afterwards there is a new connection."""
    assert desk.glances.look(lambda conn: conn.execute("SELECT 1 FROM nowhere")) is None
    assert desk.look() is None

    desk.now += REST
    assert desk.look() == 7


def test_nothing_can_be_written(desk: Desk) -> None:
    """There is one writer."""
    assert desk.glances.look(lambda conn: conn.execute("CREATE TABLE t (x)")) is None


def test_too_much_for_a_glance_is_no_trouble(desk: Desk) -> None:
    """The next query is asked here all the same."""
    assert desk.glances.look(lambda _: None) is None
    assert desk.look() == 7
