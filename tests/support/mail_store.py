"""A database with accounts and mail, for tests that look at what is in it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, event, func, insert, select, text
from twisted.internet.defer import Deferred

from mailsvc.config.settings import DatabaseSettings, SpoolSettings
from mailsvc.model.account import Account, Role
from mailsvc.model.address import parse_address
from mailsvc.model.ids import IdSource, MessageId
from mailsvc.model.maildrop import Lease
from mailsvc.spool import Spool, SpoolRoom
from mailsvc.store.accounts import (
    NewAccount,
    add_account,
    find_account,
)
from mailsvc.store.database import Database
from mailsvc.store.deliveries import DeliverBatch
from mailsvc.store.delivery import Delivery, Target
from mailsvc.store.domains import add_domain, any_domain
from mailsvc.store.engine import Engines, open_engines
from mailsvc.store.maildrop import drop_leases
from mailsvc.store.tables import chunk, entry, folder, lock, message
from mailsvc.store.writer_process import WriterProcess
from tests.support.pump import PATIENCE, Pump

Result = TypeVar("Result")

TRACE = b"Return-Path: <sender@example.org>\r\n"
NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def content(octets: bytes) -> Spool:
    """Make a complete message in memory."""
    spool = Spool(SpoolRoom(Path("/nowhere"), SpoolSettings(message_memory=1 << 30)))
    spool.write(octets)
    return spool


@dataclass
class Store:
    """
    One node's way into a database: queries at once, on the test's thread.

    Args:
        engines: The open database.
        node: Makes its numbers differ from another node's.
    """

    engines: Engines
    node: int = 0
    ids: IdSource = field(init=False)

    def __post_init__(self) -> None:
        """Make numbers."""
        self.ids = IdSource(self.node)

    def do(self, query: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Run a query in a transaction of its own."""
        with self.engines.write.begin() as connection:
            return query(connection, *args, **kwargs)

    def add(self, name: str, role: Role = Role.USER, **limits: int) -> Account:
        """Make an account of test.com, and that domain first when it is missing."""
        address = parse_address(f"{name}@test.com", utf8=True)
        if not self.do(any_domain):
            self.do(add_domain, self.ids, "test.com")
        new = NewAccount(address=address, hashed="plain:secret", role=role, **limits)  # type: ignore[arg-type]  # only limits
        self.do(add_account, self.ids, new)
        found = self.do(find_account, address)
        assert found is not None
        return found

    def delivery(self, octets: bytes, *accounts: Account, sender: str = "") -> Delivery:
        """Address a message to accounts."""
        return Delivery(
            message=MessageId(self.ids.next()),
            trace=TRACE,
            return_path_octets=len(TRACE),
            content=content(octets),
            sender=sender,
            received=NOON,
            client_ip="192.0.2.1",
            targets=tuple(map(target, accounts)),
        )

    def deliver(self, *deliveries: Delivery) -> Sequence[Exception | None]:
        """Write them in one transaction."""
        return self.do(DeliverBatch(self.ids), deliveries)

    def lease(self, account: Account, seconds: float = 60.0) -> Lease:
        """Hold a maildrop, whoever held it before; below 0 seconds the lease has run out."""
        lease = Lease(account.id, account.inbox, self.ids.next())
        row = {"name": f"maildrop/{account.id}", "owner": lease.token}
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        self.do(drop_leases, account.id)
        self.do(lambda conn: conn.execute(insert(lock).values(until=until, **row)))
        return lease

    def uids(self, account: Account) -> list[int]:
        """List what is in an inbox."""
        wanted = select(entry.c.uid).where(entry.c.folder_id == account.inbox)
        return self.do(lambda conn: list(conn.scalars(wanted.order_by(entry.c.uid))))

    def messages(self, account: Account) -> list[MessageId]:
        """List the messages of an inbox in the order of their uids."""
        wanted = select(entry.c.message_id).where(entry.c.folder_id == account.inbox)
        return self.do(lambda conn: list(conn.scalars(wanted.order_by(entry.c.uid))))

    def usage(self, account: Account) -> tuple[int, int, int]:
        """Tell an inbox's next uid, messages and octets."""
        columns = (folder.c.uidnext, folder.c.messages, folder.c.octets)
        wanted = select(*columns).where(folder.c.id == account.inbox)
        return self.do(lambda conn: tuple(conn.execute(wanted).one()))

    def body(self, number: MessageId) -> bytes | None:
        """Read a message as it will be sent, wherever its octets stand; None: it is not there."""
        return self.do(_body, number)


def target(account: Account) -> Target:
    """Address an account's inbox."""
    return Target(
        account.id,
        account.inbox,
        str(account.address),
        account.quota_octets,
        account.quota_messages,
    )


def _body(conn: Connection, number: MessageId) -> bytes | None:
    row = conn.execute(select(message.c.body).where(message.c.id == number)).first()
    if row is None or row.body is not None:
        return None if row is None else bytes(row.body)
    wanted = select(chunk.c.body).where(chunk.c.message_id == number).order_by(chunk.c.number)
    return b"".join(conn.scalars(wanted))


def check_books(conn: Connection) -> None:
    """Hold the counters of all folders against their entries, and entries against messages."""
    kept = conn.execute(
        select(
            folder.c.id,
            folder.c.messages,
            folder.c.octets,
            folder.c.uidnext,
            func.count(entry.c.uid),
            func.coalesce(func.sum(entry.c.octets), 0),
            func.coalesce(func.max(entry.c.uid), 0),
        )
        .outerjoin(entry, entry.c.folder_id == folder.c.id)
        .group_by(folder.c.id)
    )
    for number, messages, octets, uidnext, entries, sum_of_octets, highest in kept:
        assert (messages, octets) == (entries, sum_of_octets), f"folder {number}"
        assert uidnext > highest
    wanted = select(entry.c.uid).outerjoin(message, message.c.id == entry.c.message_id)
    assert not conn.execute(wanted.where(message.c.id.is_(None))).all(), "an entry without a body"


def orphans(conn: Connection) -> set[int]:
    """Find messages that nobody has."""
    unread = ~select(entry.c.uid).where(entry.c.message_id == message.c.id).exists()
    return set(conn.scalars(select(message.c.id).where(unread)))


@contextmanager
def running(
    url: str,
    pump: Pump,
    *,
    node: int = 0,
    settings: DatabaseSettings | None = None,
    process: WriterProcess | None = None,
) -> Iterator[Database]:
    """Run a node's database with its threads, and a process that writes beside them."""
    settings = settings or DatabaseSettings()
    engines = open_engines(url, settings.readers, settings.writers)
    database = Database(engines, settings, pump, IdSource(node), process)
    database.start()
    try:
        yield database
    finally:
        database.stop()


def renamed(account: Account, **changes: Any) -> Account:
    """Make an account that differs from another."""
    return replace(account, **changes)


class Gate:
    """A job that keeps a writer's thread busy until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = Event()
        self.opened = Event()

    def hold(self, _conn: Connection) -> None:
        """Wait; a query."""
        self.reached.set()
        assert self.opened.wait(PATIENCE), "nobody opened the gate"

    def close(self, database: Database, pump: Pump) -> "Deferred[None]":
        """Keep the first writer of a database busy from now on."""
        busy = pump.start(database.write(self.hold)).answer
        assert self.reached.wait(PATIENCE)
        return busy


@contextmanager
def noticed(engine: Engine, start: str) -> Iterator[Event]:
    """Give an event that is set when a statement that begins with *start* is about to run."""
    seen = Event()

    def look(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith(start):
            seen.set()

    event.listen(engine, "before_cursor_execute", look)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", look)


@contextmanager
def counted() -> Iterator[list[int]]:
    """Count all commits meanwhile: the list gets longer by one each time."""
    commits: list[int] = []

    def note(_conn: object) -> None:
        commits.append(len(commits))

    event.listen(Engine, "commit", note)
    try:
        yield commits
    finally:
        event.remove(Engine, "commit", note)


def wait_for_a_waiter(engine: Engine) -> None:
    """Return when some transaction of a server waits for another one's lock."""
    waiting = {
        "postgresql": "SELECT pg_sleep(0.01), count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()",
        "mysql": "SELECT SLEEP(0.11), COUNT(*) FROM information_schema.innodb_trx"
        " WHERE trx_state = 'LOCK WAIT'",
    }[engine.dialect.name]
    with engine.connect() as connection:
        for _ in range(100):
            if connection.execute(text(waiting)).one()[1]:
                return
            connection.rollback()
    raise AssertionError("nobody waits for a lock")
