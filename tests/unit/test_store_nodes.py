"""Which processes share the database, and what administrators have changed in it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from mailsvc.errors import StartError
from mailsvc.store import nodes
from mailsvc.store.engine import Engines, open_engines
from mailsvc.store.schema import transact
from mailsvc.store.settings import latest_revision, read_settings, write_setting
from mailsvc.store.tables import node
from tests.support.database_servers import SERVERS
from tests.support.mail_store import NOON, Store, running, wait_for_a_waiter
from tests.support.pump import Pump


@pytest.fixture
def store(engines: Engines) -> Store:
    """Give a way into the database."""
    return Store(engines)


@pytest.fixture
def other_node(database_url: str) -> Iterator[Engines]:
    """Give a second node's way into the same database."""
    opened = open_engines(database_url, 1, 1)
    yield opened
    opened.close()


def fall_silent(conn: Connection, number: int) -> None:
    """Let a node's last sign of life be long ago."""
    conn.execute(update(node).where(node.c.id == number).values(heartbeat=NOON.replace(year=2020)))


class TestNodes:
    """Each node has a number of its own, which its identifiers carry."""

    def test_each_gets_the_lowest_free_number(self, store: Store) -> None:
        """A number that was given back is given out again."""
        assert [store.do(nodes.join, "host", owner) for owner in (10, 11, 12)] == [0, 1, 2]

        store.do(nodes.leave, 1, 11)

        assert store.do(nodes.join, "host", 13) == 1

    def test_only_its_owner_speaks_for_a_number(self, store: Store) -> None:
        """A node that was thought dead neither keeps nor frees its successor's number."""
        store.do(nodes.join, "old", 10)
        assert store.do(nodes.beat, 0, 10)
        store.do(fall_silent, 0)

        assert store.do(nodes.join, "new", 11) == 0

        assert not store.do(nodes.beat, 0, 10)
        store.do(nodes.leave, 0, 10)
        assert store.do(nodes.beat, 0, 11)

    def test_a_sign_of_life_keeps_the_number(self, store: Store) -> None:
        """Silence counts from the last sign."""
        store.do(nodes.join, "slow", 10)
        store.do(fall_silent, 0)
        assert store.do(nodes.beat, 0, 10)

        assert store.do(nodes.join, "new", 11) == 1

    def test_too_many_are_told(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """The operator reads what to do."""
        monkeypatch.setattr(nodes, "NODES", 2)
        for owner in (10, 11):
            store.do(nodes.join, "host", owner)

        with pytest.raises(StartError, match="stop one first"):
            store.do(nodes.join, "host", 12)

    @pytest.mark.parametrize("kind", SERVERS)
    def test_two_that_start_together_get_two_numbers(
        self, store: Store, database_url: str, other_node: Engines
    ) -> None:
        """Nobody has to start a node again."""
        pump = Pump()
        with running(database_url, pump) as database:
            with store.engines.write.begin() as first:
                assert nodes.join(first, "first", 10) == 0
                late = pump.start(database.run(lambda _: transact(other_node, nodes.join, "b", 11)))
                wait_for_a_waiter(store.engines.read)

            assert late.result() == 1


class TestSettings:
    """What an administrator changes while the service runs."""

    def test_what_is_written_is_read(self, store: Store) -> None:
        """Anything that JSON can say, the last one counts."""
        assert store.do(read_settings) == {}
        values: list[Any] = [
            True,
            None,
            0,
            5_000_000_000,
            2.5,
            "grüße \U0001f4ee",
            ["a", 1],
            {"deep": {"x": []}},
        ]
        for number, value in enumerate(values):
            store.do(write_setting, f"name.{number}", "before", "admin@test.com")
            store.do(write_setting, f"name.{number}", value, "admin@test.com")

        found = store.do(read_settings)

        assert [found[f"name.{number}"] for number in range(len(values))] == values

    def test_each_change_has_a_newer_revision(self, store: Store) -> None:
        """A node that asks for what is newer than it knows misses nothing."""
        seen = [store.do(latest_revision)]
        for value in ("a", "b", "b"):
            store.do(write_setting, "name", value, "admin@test.com")
            seen.append(store.do(latest_revision))

        assert seen[0] == 0
        assert seen == sorted(set(seen))

    def test_a_switch_is_remembered(self, store: Store) -> None:
        """A service that was stopped stays so after a restart."""
        store.do(write_setting, "service.pop3.running", False, "uid 7")

        assert store.do(read_settings) == {"service.pop3.running": False}

    @pytest.mark.parametrize("kind", SERVERS)
    @pytest.mark.parametrize("name", ["same", "another"])
    def test_two_changes_at_once_have_two_revisions(
        self, store: Store, database_url: str, name: str
    ) -> None:
        """Otherwise a node that has seen the one would never ask for the other."""
        store.do(write_setting, "old", 1, "admin@test.com")
        pump = Pump()
        with running(database_url, pump, node=1) as database:
            with store.engines.write.begin() as theirs:
                write_setting(theirs, "same", "theirs", "admin@test.com")
                late = pump.start(database.write(write_setting, name, "late", "admin@test.com"))
                wait_for_a_waiter(store.engines.read)
            late.result()

        assert store.do(latest_revision) == 3
        assert store.do(read_settings)[name] == "late"


class TestMoments:
    """Times are the same on every engine."""

    @pytest.mark.parametrize("moment", [NOON, datetime(2038, 1, 19, 3, 14, 8, 123457, tzinfo=UTC)])
    def test_a_moment_comes_back_to_the_microsecond(self, store: Store, moment: datetime) -> None:
        """Also behind the year 2038, and always aware."""
        store.do(nodes.join, "host", 10)
        store.do(lambda conn: conn.execute(update(node).values(heartbeat=moment)))

        assert store.do(lambda conn: conn.scalar(select(node.c.heartbeat))) == moment

    def test_a_naive_moment_is_refused(self, store: Store) -> None:
        """Nobody knows which zone it means."""
        naive = NOON.replace(tzinfo=None)
        with pytest.raises(Exception, match="needs a time zone"):
            store.do(lambda conn: conn.execute(update(node).values(heartbeat=naive)))
