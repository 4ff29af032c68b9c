"""A thread and a process write one SQLite file in turn; nobody waits in vain for either."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Lock

import pytest
from sqlalchemy import Connection
from zope.interface import implementer

from mailsvc.config.settings import DatabaseSettings
from mailsvc.delivery.bounces import SettleRecipe
from mailsvc.errors import StorageFailed
from mailsvc.interfaces import IContent
from mailsvc.model import outgoing
from mailsvc.model.account import Account
from mailsvc.model.queued import Attempted, Queued, Settled
from mailsvc.store.database import Database
from mailsvc.store.deliveries import DeliverBatch
from mailsvc.store.engine import Engines
from mailsvc.store.portable import portable
from mailsvc.store.queue import add_to_queue, claim
from tests.support.mail_store import NOON, Gate, Store, check_books, running
from tests.support.pump import Outcome, Pump
from tests.support.second_writer import SecondWriter

SETTINGS = DatabaseSettings(readers=1)


@pytest.fixture
def kind() -> str:
    """Use the only kind of database that has two writers."""
    return "sqlite"


@pytest.fixture
def pump() -> Pump:
    """Be the reactor."""
    return Pump()


@pytest.fixture
def process(engines: Engines) -> SecondWriter:
    """Be the process; it shares its connections with the test's own queries."""
    return SecondWriter(engines)


@pytest.fixture
def store(engines: Engines) -> Store:
    """Look past both into the database."""
    return Store(engines)


@pytest.fixture
def database(database_url: str, pump: Pump, process: SecondWriter) -> Iterator[Database]:
    """Run both writers."""
    with running(database_url, pump, settings=SETTINGS, process=process) as started:
        yield started


@pytest.fixture
def bob(store: Store) -> Account:
    """Make an account that gets mail."""
    return store.add("bob")


@portable
def told(_conn: Connection, what: object) -> object:
    """Give back what it was given."""
    return what


class Deliveries:
    """Messages on their way into one mailbox."""

    def __init__(self, database: Database, store: Store, bob: Account, pump: Pump) -> None:
        self._database = database
        self._store = store
        self._bob = bob
        self._pump = pump
        self.batch = DeliverBatch(database.ids)

    def send(self, *contents: bytes) -> list[Outcome[None]]:
        """Begin to write some."""
        return [self._send(content) for content in contents]

    def _send(self, content: bytes) -> Outcome[None]:
        delivery = self._store.delivery(content, self._bob)
        return self._pump.start(self._database.write_batch(self.batch, delivery))

    def stored(self) -> list[bytes]:
        """List the contents that are there, after a look at the books."""
        self._store.do(check_books)
        bodies = [self._store.body(one) or b"" for one in self._store.messages(self._bob)]
        return [body.partition(b"\r\n")[2] for body in bodies]


@pytest.fixture
def mail(database: Database, store: Store, bob: Account, pump: Pump) -> Deliveries:
    """Deliver to an account."""
    return Deliveries(database, store, bob, pump)


def leaving(store: Store, bob: Account) -> Queued:
    """Let a message of an account wait for its way to another server."""
    delivery = store.delivery(b"Subject: x\r\n\r\n", bob)
    store.deliver(delivery)
    row = Queued(
        id=store.ids.next(),
        message=delivery.message,
        sender="bob@test.com",
        recipient="eve@far.example",
        domain="far.example",
        attempts=0,
        expires=datetime.now(UTC) + timedelta(days=1),
        created=NOON,
    )
    store.do(add_to_queue, [(row, None)])
    assert store.do(claim, 1, timedelta(minutes=5), 1) == [row]
    return row


class TestDeath:
    """The process ends, and nobody knows what became of its work."""

    @pytest.mark.parametrize("committed", [False, True], ids=["before", "after"])
    def test_a_death_around_the_commit_is_not_noticed(
        self, process: SecondWriter, mail: Deliveries, *, committed: bool
    ) -> None:
        """What is there is not written again, what is not there is written now: 250 for all."""
        first = mail.send(b"one")
        behind = mail.send(b"two", b"three")

        process.die(committed=committed)

        for one in first + behind:
            one.result()
        assert mail.stored() == [b"one", b"two", b"three"]

    def test_a_death_in_the_midst_of_single_tries_writes_only_the_rest(
        self, process: SecondWriter, mail: Deliveries, store: Store
    ) -> None:
        """Some of a transaction that was undone may have been written one by one."""
        gate = mail.send(b"gate")
        waiting = mail.send(b"one", b"two", b"three")
        process.answer()
        _, second, _ = (item for _, item in process.batches[-1].jobs)
        store.deliver(second)

        process.die(committed=False)

        for one in gate + waiting:
            one.result()
        assert sorted(mail.stored()) == [b"gate", b"one", b"three", b"two"]

    @pytest.mark.parametrize("committed", [False, True], ids=["before", "after"])
    def test_a_sender_gets_one_report_of_an_attempt(
        self,
        database: Database,
        store: Store,
        bob: Account,
        pump: Pump,
        process: SecondWriter,
        *,
        committed: bool,
    ) -> None:
        """What is settled is not settled again, whenever the process died of it."""
        row = leaving(store, bob)
        fate = Settled(row.id, outgoing.Outcome.BOUNCE, NOON, "550 no", NOON, report="failed")
        settle = SettleRecipe("mail.test.com", b"secret")(store.ids)
        settled = pump.start(database.write_batch(settle, Attempted(1, ((row, fate),))))

        process.die(committed=committed)

        settled.result()
        assert len(store.messages(bob)) == 2  # the message itself, and the report
        store.do(check_books)

    def test_nobody_writes_before_it_is_known(
        self, database: Database, process: SecondWriter, mail: Deliveries, pump: Pump
    ) -> None:
        """A user who removed the message meanwhile would get it once more."""
        seen: list[int] = []

        def look(conn: Connection) -> None:
            seen.append(conn.exec_driver_sql("SELECT count(*) FROM entry").scalar_one())

        (first,) = mail.send(b"one")
        later = pump.start(database.write(look))

        process.die(committed=False)

        first.result()
        later.result()
        assert seen == [1]


@implementer(IContent)
class BadContent:
    """Content in a file that cannot be read any more."""

    octets = 3

    def head(self, limit: int) -> bytes:
        return b"bad"[:limit]

    def pieces(self, size: int) -> Iterator[bytes]:
        del size
        raise OSError("a bad sector")


class TestFaults:
    """An item that cannot go to the process."""

    def test_content_that_cannot_be_read_fails_alone(
        self,
        database: Database,
        store: Store,
        bob: Account,
        pump: Pump,
        process: SecondWriter,
        mail: Deliveries,
    ) -> None:
        """A file that is broken costs its own message a 4yz; those beside it get through."""
        (gate,) = mail.send(b"gate")
        bad = store.delivery(b"", bob)._replace(content=BadContent())
        (one,) = mail.send(b"one")
        failed = pump.start(database.write_batch(mail.batch, bad))
        (two,) = mail.send(b"two")

        process.answer()
        process.answer()
        with pytest.raises(StorageFailed):
            failed.result()

        assert [list(outcome) for outcome in (gate, one, two)] == [[None]] * 3
        assert mail.stored() == [b"gate", b"one", b"two"]
        assert database.waiting == 0

    def test_arguments_that_cannot_be_pickled_are_written_by_the_thread(
        self, database: Database, pump: Pump, process: SecondWriter
    ) -> None:
        """They are a fault of ours, which nobody else need hear of."""
        lock = Lock()

        assert pump.finish(database.write(told, lock)) is lock

        assert not process.batches


class TestStop:
    """The end."""

    @pytest.mark.parametrize("there", [False, True])
    def test_whoever_waits_at_the_end_is_answered_once(
        self,
        database_url: str,
        store: Store,
        bob: Account,
        pump: Pump,
        process: SecondWriter,
        *,
        there: bool,
    ) -> None:
        """What waits behind a turn of the thread is committed, and told."""
        gate = Gate()
        with running(database_url, pump, settings=SETTINGS, process=process) as database:
            busy = pump.start(database.write(gate.hold))
            mail = Deliveries(database, store, bob, pump)
            letters = mail.send(b"one", b"two")
            others = [pump.start(database.write(lambda _: 7)) for _ in range(3)]
            process.there = there
            gate.opened.set()

        pump.drain()
        assert list(busy) == [None]
        assert [list(one) for one in others] == [[7]] * 3
        assert [list(one) for one in letters] == [[None]] * 2
        assert database.waiting == 0
        assert not process.batches
        assert mail.stored() == [b"one", b"two"]
