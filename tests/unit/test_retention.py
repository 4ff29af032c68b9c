"""Mail that is older than its owner keeps it, and old records; on every database."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, insert, select
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from mailsvc.config.settings import RetentionSettings
from mailsvc.errors import StorageFailed
from mailsvc.model.account import Account
from mailsvc.model.ids import AccountId, FolderId, earliest_at
from mailsvc.model.maildrop import Clearing, Lease
from mailsvc.model.story import StoryFilter, StoryRow
from mailsvc.service.retention import EVERY, Retention
from mailsvc.store import maildrop
from mailsvc.store.accounts import (
    set_keep,
    shortest_keep,
)
from mailsvc.store.database import Database
from mailsvc.store.engine import Engines
from mailsvc.store.expiry import EXPIRE
from mailsvc.store.local_leases import LocalLeases
from mailsvc.store.maildrop import Maildrops
from mailsvc.store.removal import purge_bodies
from mailsvc.store.stories import search_stories, trace_number
from mailsvc.store.tables import expunged, lock, trail
from tests.support.database_servers import SERVERS
from tests.support.mail_store import (
    NOON,
    Gate,
    Store,
    check_books,
    counted,
    noticed,
    orphans,
    running,
    wait_for_a_waiter,
)
from tests.support.pump import PATIENCE, Outcome, Pump

DAY = timedelta(days=1)
REMOVED = StoryFilter(account="alice@test.com", event="removed")
FOR_EVER = RetentionSettings(trail=None, expunged=None)


@pytest.fixture
def pump() -> Pump:
    """Be the reactor."""
    return Pump()


@pytest.fixture
def store(engines: Engines) -> Store:
    """Give a store for mail."""
    return Store(engines)


@pytest.fixture
def database(database_url: str, pump: Pump) -> Iterator[Database]:
    """Run one node."""
    with running(database_url, pump, node=1) as started:
        yield started


@pytest.fixture
def maildrops(database: Database) -> Maildrops:
    """Open the maildrops."""
    return Maildrops(database)


@pytest.fixture
def alice(store: Store) -> Account:
    """Make a user who keeps mail for ten days, with mail of day 0 and of day 5."""
    made = store.add("alice")
    store.do(set_keep, made.address, 10)
    store.deliver(store.delivery(b"old", made), store.delivery(b"also old", made))
    later = store.delivery(b"new", made)._replace(received=NOON + timedelta(days=5))
    store.deliver(later)
    return made


def clearing(account: Account, *uids: int) -> Clearing:
    """Wish some messages of an inbox away."""
    return Clearing(account.id, str(account.address), account.inbox, uids, "older than 10 days")


def told(store: Store) -> list[StoryRow]:
    """List what `mailctl trail search` finds about mail of alice that was removed."""
    return store.do(search_stories, REMOVED, None, 10_000)


class Round:
    """One look on some day."""

    def __init__(
        self,
        database: Database,
        maildrops: Maildrops,
        pump: Pump,
        settings: RetentionSettings = FOR_EVER,
    ) -> None:
        self.day = 0.0
        self._pump = pump
        self._retention = Retention(database, maildrops, settings, Clock(), self._now)
        self._retention.running = True

    def _now(self) -> datetime:
        return NOON + timedelta(days=self.day)

    def on(self, day: float) -> None:
        """Look."""
        self.day = day
        self.start().result()

    def start(self) -> Outcome[None]:
        """Begin to look."""
        return self._pump.start(self._retention.round())


@pytest.fixture
def look(database: Database, maildrops: Maildrops, pump: Pump) -> Round:
    """Give a way to look."""
    return Round(database, maildrops, pump)


def test_old_mail_goes_and_new_mail_stays(look: Round, store: Store, alice: Account) -> None:
    """Counted from the arrival, to the second."""
    look.on(9.9)
    assert store.uids(alice) == [1, 2, 3]

    look.on(10.1)

    assert store.uids(alice) == [3]
    assert store.do(lambda conn: list(conn.scalars(select(expunged.c.uid)))) == [1, 2]
    store.do(check_books)


def test_what_goes_is_told(look: Round, store: Store, alice: Account) -> None:
    """As what users remove, but without a client, and with the reason."""
    first, second, kept = store.messages(alice)

    with capturedLogs() as lines:
        look.on(10.1)

    assert [(row.event, int(row.message, 16)) for row in told(store)] == [
        ("removed", second),
        ("removed", first),
    ]
    *_, row = store.do(trace_number, first)
    assert (row.event, row.account, row.recipient) == ("removed", *2 * ["alice@test.com"])
    assert (row.client_ip, row.sender, row.status) == ("", "", "")
    assert row.detail == "older than 10 days"
    assert "removed" not in {row.event for row in store.do(trace_number, kept)}
    assert "removed 2 messages of alice@test.com older than 10 days" in map(formatEvent, lines)


def test_one_message_of_one_day_is_told(look: Round, store: Store, alice: Account) -> None:
    """In grammatical words."""
    store.do(set_keep, alice.address, 1)
    look.on(5)

    with capturedLogs() as lines:
        look.on(6.1)

    assert "removed 1 message of alice@test.com older than 1 day" in map(formatEvent, lines)
    assert {row.detail for row in told(store)} == {"older than 1 day"}


def test_a_removal_that_failed_is_not_told(
    database: Database, store: Store, alice: Account, pump: Pump
) -> None:
    """It is one transaction with the rows."""

    def fail(conn: Connection) -> None:
        assert maildrop.clear_and_tell(conn, clearing(alice, 1, 2), [8, 9]) == 2
        raise StorageFailed

    with pytest.raises(StorageFailed):
        pump.finish(database.write(fail))

    assert (store.uids(alice), told(store)) == ([1, 2, 3], [])


def test_only_what_was_there_is_told(store: Store, alice: Account) -> None:
    """Another node, or a try whose end nobody saw, has removed the others."""
    counts = [
        store.do(maildrop.clear_and_tell, clearing(alice, *uids), store.ids.many(len(uids)))
        for uids in ((1,), (1, 2, 99), (1, 2, 99))
    ]

    assert counts == [1, 1, 0]
    assert len(told(store)) == 2


def test_who_keeps_all_loses_nothing(look: Round, store: Store, alice: Account) -> None:
    """The default; and a dial that was turned back."""
    bob = store.add("bob")
    store.deliver(store.delivery(b"old", bob))
    store.do(set_keep, alice.address, None)

    look.on(10_000)

    assert store.uids(bob) == [1]
    assert store.uids(alice) == [1, 2, 3]
    assert store.do(shortest_keep) is None


def test_an_open_session_keeps_its_mail(
    look: Round, store: Store, alice: Account, maildrops: Maildrops, pump: Pump
) -> None:
    """RFC 1939 section 4: the session alone changes its maildrop."""
    lease = pump.finish(maildrops.open(alice, 60.0)).lease
    look.on(20)
    assert store.uids(alice) == [1, 2, 3]
    assert not told(store)

    pump.finish(maildrops.release(lease))
    look.on(20)

    assert store.uids(alice) == []
    assert len(pump.finish(maildrops.open(alice, 60.0))) == 0


def test_a_session_that_vanished_holds_nothing_up(
    look: Round, store: Store, alice: Account, maildrops: Maildrops, pump: Pump
) -> None:
    """And should it come back after all, its lease is lost: it removes nothing."""
    lost = pump.finish(maildrops.open(alice, -1.0)).lease

    look.on(10.1)

    assert store.uids(alice) == [3]
    assert not pump.finish(maildrops.renew(lost, 60.0))


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_login_meanwhile_waits_for_the_commit(
    database: Database, store: Store, alice: Account, maildrops: Maildrops, pump: Pump
) -> None:
    """Its user hears nothing of a maildrop that is in use; other users do not even wait."""
    bob = store.add("bob")
    store.deliver(store.delivery(b"", bob))
    gate = Gate()
    busy = gate.close(database, pump)
    cleared = pump.start(maildrops.clear(clearing(alice, 1, 2)))
    waiting = pump.start(maildrops.open(alice, 60.0))
    assert list(pump.finish(maildrops.open(bob, 60.0)).uids) == [1]
    assert not waiting

    gate.opened.set()

    assert cleared.result() == 2
    assert list(waiting.result().uids) == [3]
    pump.finish(busy)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_login_on_another_node_waits_for_the_commit(
    engines: Engines, alice: Account, maildrops: Maildrops, pump: Pump
) -> None:
    """It is shown what is left."""
    lease = Lease(alice.id, alice.inbox, 7)
    with engines.write.begin() as ours, noticed(engines.write, "DELETE FROM entry") as removed:
        assert maildrop.clear(ours, lease, clearing(alice, 1, 2), [8, 9]) == 2
        assert removed.wait(PATIENCE)
        late = pump.start(maildrops.open(alice, 60.0))
        wait_for_a_waiter(engines.write)

    assert list(late.result().uids) == [3]


def test_a_failed_removal_lets_sessions_in() -> None:
    """The database is gone for a moment; the next login is not refused for that."""
    leases = LocalLeases(lambda: 0.0)
    lease = Lease(AccountId(1), FolderId(2), 3)

    async def fail() -> None:
        async with leases.clearing(lease.account):
            raise StorageFailed

    with pytest.raises(StorageFailed):
        Pump().finish(fail())

    Pump().finish(leases.cleared(lease.account))
    leases.take(lease, 10.0)


def test_thousands_go_in_small_transactions(look: Round, store: Store, alice: Account) -> None:
    """Nobody waits for long, and nothing is left over."""
    store.deliver(*(store.delivery(b"", alice) for _ in range(2 * EXPIRE)))

    with counted() as commits:
        look.on(10.1)

    assert store.uids(alice) == [3]
    assert len(commits) >= 3
    assert len({row.message for row in told(store)}) == len(told(store)) == 2 * EXPIRE + 2
    store.do(check_books)


def test_other_copies_stay(look: Round, store: Store, alice: Account) -> None:
    """A message for two goes for the one who does not keep it; its body with the last copy."""
    bob = store.add("bob")
    store.do(set_keep, bob.address, 20)
    store.deliver(store.delivery(b"both", alice, bob))

    for day, left in ((10.1, [1]), (20.1, [])):
        look.on(day)
        store.do(purge_bodies)
        assert store.uids(bob) == left
        assert not store.do(orphans)


@pytest.mark.parametrize("kind", SERVERS)
def test_nodes_do_not_disturb_each_other(
    look: Round, store: Store, alice: Account, database_url: str, pump: Pump
) -> None:
    """They may all clear the same inbox at the same time."""
    store.deliver(*(store.delivery(b"", alice) for _ in range(20)))
    look.day = 10.1
    with running(database_url, pump, node=2) as second:
        other = Round(second, Maildrops(second), pump)
        other.day = 10.1

        started = [look.start(), other.start()]

        for one in started:
            one.result()
    assert store.uids(alice) == [3]
    assert store.do(lambda conn: conn.scalars(select(lock.c.name)).all()) == []
    assert len(told(store)) == 22
    store.do(check_books)


def test_one_bad_inbox_does_not_save_the_others(
    look: Round,
    store: Store,
    alice: Account,
    maildrops: Maildrops,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is wrong with it."""
    bob = store.add("bob")
    store.do(set_keep, bob.address, 10)
    store.deliver(store.delivery(b"old", bob))
    clear = maildrops.clear

    async def fail(wish: Clearing) -> int | None:
        if wish.account == alice.id:
            raise StorageFailed
        return await clear(wish)

    monkeypatch.setattr(maildrops, "clear", fail)

    look.on(10.1)

    assert (len(store.uids(alice)), store.uids(bob)) == (3, [])


def test_it_looks_at_the_start_and_every_ten_minutes() -> None:
    """A database that does not answer is asked again."""
    clock, asked = Clock(), []

    class Silent:
        async def run(self, query: object) -> None:
            asked.append(query)
            raise RuntimeError("no answer")

    retention = Retention(Silent(), None, FOR_EVER, clock)  # type: ignore[arg-type]  # as far as asked
    retention.startService()
    clock.advance(EVERY)
    _ = retention.stopService()
    clock.advance(EVERY)

    assert len(asked) == 2


def record(store: Store, account: Account, ages: Sequence[timedelta]) -> list[int]:
    """Write into the trail and among the tombstones; gives the numbers in the trail."""
    numbers = [earliest_at(NOON - age) + 7 for age in ages]
    story = [{"id": number, "event": "test", "detail": "{}"} for number in numbers]
    graves = [
        {"folder_id": account.inbox, "uid": uid, "modseq": 1, "removed": NOON - age}
        for uid, age in enumerate(ages, 1)
    ]
    store.do(lambda conn: conn.execute(insert(trail), story))
    store.do(lambda conn: conn.execute(insert(expunged), graves))
    return numbers


def records(conn: Connection) -> tuple[list[int], list[int]]:
    """List what ``record`` has written."""
    told = select(trail.c.id).where(trail.c.event == "test").order_by(trail.c.id)
    gone = select(expunged.c.uid).order_by(expunged.c.uid)
    return list(conn.scalars(told)), list(conn.scalars(gone))


class TestRecords:
    """``retention`` in config.yaml."""

    def test_old_records_go(
        self, database: Database, store: Store, maildrops: Maildrops, pump: Pump
    ) -> None:
        """Each kind has its age; what is not older yet stays."""
        settings = RetentionSettings(trail=90 * 86_400.0, expunged=30 * 86_400.0)
        look = Round(database, maildrops, pump, settings)
        ages = [100 * DAY, 91 * DAY, 90 * DAY, 31 * DAY, 30 * DAY, 0 * DAY]
        numbers = record(store, store.add("alice"), ages)

        look.on(0)
        assert store.do(records) == (numbers[2:], [5, 6])

        look.on(1)
        assert store.do(records) == (numbers[3:], [6])

    def test_they_may_stay_for_ever(self, look: Round, store: Store) -> None:
        """With null."""
        numbers = record(store, store.add("alice"), [10_000 * DAY])

        look.on(10_000)

        assert store.do(records) == (numbers, [1])

    def test_thousands_go_in_small_transactions(
        self, database: Database, store: Store, maildrops: Maildrops, pump: Pump
    ) -> None:
        """Nobody waits for long, and nothing is left over."""
        ages = [100 * DAY + timedelta(milliseconds=one) for one in range(2 * EXPIRE + 1)]
        record(store, store.add("alice"), ages)

        with counted() as commits:
            Round(database, maildrops, pump, RetentionSettings()).on(0)

        assert store.do(records) == ([], [])
        assert len(commits) >= 6

    @pytest.mark.parametrize("kind", SERVERS)
    def test_nodes_may_forget_at_the_same_time(
        self, database: Database, store: Store, database_url: str, pump: Pump
    ) -> None:
        """They find the same rows, and one of them removes them."""
        record(store, store.add("alice"), [(100 + one) * DAY for one in range(50)])
        with running(database_url, pump, node=2) as second:
            nodes = (database, second)
            looks = [Round(one, Maildrops(one), pump, RetentionSettings()) for one in nodes]

            started = [one.start() for one in looks]

            for one in started:
                one.result()
        assert store.do(records) == ([], [])

    def test_what_happens_now_is_kept(
        self, database: Database, store: Store, maildrops: Maildrops, pump: Pump
    ) -> None:
        """The number of a row tells its time."""
        alice = store.add("alice")
        store.deliver(store.delivery(b"", alice))
        settings = RetentionSettings(trail=86_400.0)

        Round(database, maildrops, pump, settings).on((datetime.now(UTC) - NOON) / DAY)

        assert store.do(lambda conn: len(conn.scalars(select(trail.c.id)).all())) == 1
