"""SQLite's driver below SQLAlchemy: same rows, same errors."""

import sqlite3
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from mailsvc.config.settings import DatabaseSettings
from mailsvc.errors import StorageFull
from mailsvc.store.bulk import BulkInsert
from mailsvc.store.database import Database
from mailsvc.store.deliveries import DeliverBatch
from mailsvc.store.driver import DriverStatement, as_list, driver_of, numbers_of
from mailsvc.store.engine import Engines
from mailsvc.store.faults import disk_is_full, file_is_locked, worth_another_try
from mailsvc.store.tables import chunk, folder
from tests.support.mail_store import Store, running
from tests.support.pump import Pump

pytestmark = pytest.mark.parametrize("kind", ["sqlite"])

_FOLDERS = select(folder.c.id, folder.c.uidnext).order_by(folder.c.id)
_SOME = DriverStatement(_FOLDERS.where(folder.c.id.in_(numbers_of("wanted"))))
_INSERT = BulkInsert(chunk, "message_id", "number", "body")


@pytest.fixture
def store(engines: Engines) -> Store:
    """Give a store with three accounts."""
    made = Store(engines)
    for name in ("alice", "bob", "carol"):
        made.add(name)
    return made


def driver(connection: Connection) -> sqlite3.Connection:
    """Give the driver of a connection that has one."""
    found = driver_of(connection)
    assert found is not None
    return found


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_list_of_any_length_is_one_parameter(store: Store, count: int) -> None:
    """All rows are found, as SQLAlchemy finds them."""

    def look(connection: Connection) -> None:
        inboxes = [row.id for row in connection.execute(_FOLDERS)]
        wanted = inboxes[:count]
        found = _SOME.rows(driver(connection), wanted=as_list(wanted))
        assert found == [
            tuple(row) for row in connection.execute(_FOLDERS.where(folder.c.id.in_(wanted)))
        ]
        assert len(found) == count

    store.do(look)


def test_values_of_the_statement_itself_are_kept(store: Store) -> None:
    """Those that the caller does not give."""
    statement = DriverStatement(
        update(folder).where(folder.c.id.in_(numbers_of("wanted"))).values(uidnext=77)
    )

    def change(connection: Connection) -> None:
        inbox = connection.execute(_FOLDERS).first()
        assert inbox is not None
        statement.rows(driver(connection), wanted=as_list([inbox.id]))
        changed = [uidnext for _, uidnext in connection.execute(_FOLDERS)]
        assert changed.count(77) == 1

    store.do(change)


def test_errors_are_those_of_sqlalchemy(store: Store) -> None:
    """So that whoever tells a full disk from a bug need not know the way."""

    def insert_twice(connection: Connection) -> None:
        _INSERT(connection, [(1, 0, b"x"), (1, 0, b"x")])

    with pytest.raises(IntegrityError) as caught:
        store.do(insert_twice)
    assert worth_another_try(caught.value)


def test_a_locked_file_is_told(store: Store, engines: Engines, database_url: str) -> None:
    """Already where the transaction begins."""
    other = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with engines.write.connect() as connection:
            driver(connection).execute("PRAGMA busy_timeout = 20")
            with pytest.raises(OperationalError) as caught:
                connection.begin()
            assert file_is_locked(caught.value)
            driver(connection).execute("PRAGMA busy_timeout = 10000")
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert store.do(lambda connection: len(connection.execute(_FOLDERS).all())) >= 3


@pytest.fixture
def database(database_url: str, pump: Pump) -> Iterator[Database]:
    """Run the database with its threads."""
    with running(database_url, pump, settings=DatabaseSettings(readers=1)) as started:
        yield started


@pytest.fixture
def pump() -> Pump:
    """Be the reactor."""
    return Pump()


def test_a_full_disk_is_told_to_the_sender_of_a_message(
    store: Store, database: Database, pump: Pump
) -> None:
    """Nothing of the message is there; when there is room, it comes in."""
    alice = store.add("dora")
    deliver = DeliverBatch(database.ids)

    def limit(connection: Connection, more: int) -> None:
        pages: int = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + more}").scalar_one()

    pump.finish(database.write(limit, 0))
    large = store.delivery(b"x" * 200_000, alice)
    with pytest.raises(StorageFull):
        pump.finish(database.write_batch(deliver, large))
    assert store.uids(alice) == []

    pump.finish(database.write(limit, 1000))
    pump.finish(database.write_batch(deliver, large))
    assert len(store.uids(alice)) == 1


def test_an_error_of_the_driver_is_no_full_disk_by_mistake(store: Store) -> None:
    """A statement that is wrong is our fault, and told as such."""
    broken = DriverStatement(select(folder.c.id))
    broken._text = "SELECT nothing FROM nowhere"  # noqa: SLF001 - nobody else makes a wrong one

    with pytest.raises(OperationalError) as caught:
        store.do(lambda connection: broken.rows(driver(connection)))
    assert not disk_is_full(caught.value)
