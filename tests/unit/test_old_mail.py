"""Mail that is older than its owner keeps it; on every database."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from twisted.internet.task import Clock

from mailsvc.model.account import Account
from mailsvc.service.old_mail import EVERY, OldMail
from mailsvc.store.accounts import set_keep, shortest_keep
from mailsvc.store.database import Database
from mailsvc.store.engine import Engines
from mailsvc.store.maildrop import Maildrops
from mailsvc.store.tables import expunged
from tests.support.mail_store import NOON, Store, check_books, running
from tests.support.pump import Pump


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


class Round:
    """One look on some day."""

    def __init__(self, database: Database, maildrops: Maildrops, pump: Pump) -> None:
        self.day = 0.0
        self._pump = pump
        self._old_mail = OldMail(database, maildrops, Clock(), self._now)
        self._old_mail.running = True

    def _now(self) -> datetime:
        return NOON + timedelta(days=self.day)

    def on(self, day: float) -> None:
        """Look."""
        self.day = day
        self._pump.finish(self._old_mail.round())


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

    pump.finish(maildrops.release(lease))
    look.on(20)

    assert store.uids(alice) == []
    assert len(pump.finish(maildrops.open(alice, 60.0))) == 0


def test_it_looks_at_the_start_and_every_ten_minutes() -> None:
    """A database that does not answer is asked again."""
    clock, asked = Clock(), []

    class Silent:
        async def run(self, query: object) -> None:
            asked.append(query)
            raise RuntimeError("no answer")

    old_mail = OldMail(Silent(), None, clock)  # type: ignore[arg-type]  # not asked for more
    old_mail.startService()
    clock.advance(EVERY)
    old_mail.stopService()
    clock.advance(EVERY)

    assert len(asked) == 2
