"""POP3's view of an inbox: lease, listing, bodies, removal."""

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from sqlite3 import Connection as SqliteConnection
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import sqlite
from zope.interface import implementer

from mailsvc.config.units import KIB
from mailsvc.errors import MaildropInUse
from mailsvc.interfaces import IMaildrops
from mailsvc.model.account import Account
from mailsvc.model.ids import AccountId, FolderId, MessageId
from mailsvc.model.maildrop import Clearing, Lease, Snapshot
from mailsvc.store.database import Database
from mailsvc.store.driver import DriverStatement, driver_of
from mailsvc.store.local_leases import LocalLeases
from mailsvc.store.portable import portable
from mailsvc.store.removal import release_entries
from mailsvc.store.stories import INSERT_STORY
from mailsvc.store.tables import chunk, entry, expunged, folder, lock, message

_MOST_PARAMETERS = 500
_A_MOMENT = timedelta(minutes=1)


def _text_of(statement: Select[Any]) -> str:
    """Write a statement as SQLite's own module takes it, for glances."""
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="qmark")))


# Made once: putting a statement together costs more than running it.
_UIDVALIDITY = select(folder.c.uidvalidity).where(folder.c.id == bindparam("folder"))
_LISTING = (
    select(entry.c.uid, entry.c.message_id, entry.c.octets)
    .where(entry.c.folder_id == bindparam("folder"))
    .order_by(entry.c.uid)
)
_ROWS = 1000
"""Rows of a listing that are taken together: half a millisecond, so that nobody waits for it."""
_NEXT_ROWS = _LISTING.where(entry.c.uid > bindparam("behind")).limit(_ROWS).subquery()
_COLUMNS = DriverStatement(select(*(func.json_group_array(column) for column in _NEXT_ROWS.c)))
_SMALL = _text_of(
    select(folder.c.uidvalidity, folder.c.messages).where(folder.c.id == bindparam("folder"))
)
_SMALL_LISTING = _text_of(_LISTING)
# A list of any length in one parameter: half the time of one query for each body.
_SMALL_BODIES = _text_of(
    select(message.c.id, message.c.body).where(
        message.c.id.in_(
            select(func.json_each(bindparam("messages")).table_valued("value").c.value)
        )
    )
)
_GLANCE_MESSAGES = 500
"""A maildrop with no more is listed at a glance: half a millisecond."""
_GLANCE_OCTETS = 512 * KIB
"""Bodies of no more are fetched at a glance."""
_BODIES = select(message.c.id, message.c.body).where(
    message.c.id.in_(bindparam("messages", expanding=True))
)
_HELD = select(lock.c.name, lock.c.until).where(lock.c.name.in_(bindparam("names", expanding=True)))
_RELEASE = delete(lock).where(
    lock.c.name.in_(bindparam("names", expanding=True)),
    lock.c.owner.in_(bindparam("tokens", expanding=True)),
)


@implementer(IMaildrops)
class Maildrops:
    """
    The maildrops of all accounts in the database.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._local = LocalLeases() if database.single else None

    async def open(self, account: Account, lease: float) -> Snapshot:
        """Take the lease, then list: what arrives in between is listed too."""
        taken = Lease(account.id, account.inbox, self._database.ids.next())
        if self._local is not None:
            await self._local.cleared(account.id)
            self._local.take(taken, lease)
        else:
            wish = _Wish(taken, timedelta(seconds=lease))
            await self._database.write_batch(take_leases, wish, shard=account.inbox)
        try:
            seen = self._database.glance(partial(glance_at_maildrop, lease=taken))
            return seen if seen is not None else await self._database.run(take_snapshot, taken)
        except Exception:
            await self.release(taken)
            raise

    async def renew(self, lease: Lease, seconds: float) -> bool:
        """Move the end of the lease."""
        if self._local is not None:
            return self._local.renew(lease, seconds)
        return await self._database.write(renew_lease, lease, timedelta(seconds=seconds))

    async def release(self, lease: Lease) -> None:
        """Drop the lease."""
        if self._local is not None:
            self._local.release(lease)
        else:
            await self._database.write_batch(release_leases, lease, shard=lease.folder)

    async def read(
        self, messages: Sequence[MessageId], octets: int
    ) -> Mapping[MessageId, bytes | None]:
        """Fetch bodies, all together."""
        seen = self.glance(messages, octets)
        return await self._database.run(read_bodies, messages) if seen is None else seen

    def glance(
        self, messages: Sequence[MessageId], octets: int
    ) -> Mapping[MessageId, bytes | None] | None:
        """Fetch bodies, all together, at once."""
        if octets > _GLANCE_OCTETS:
            return None
        return self._database.glance(partial(glance_at_bodies, messages=messages))

    async def read_chunk(self, message: MessageId, number: int) -> bytes | None:
        """Fetch a part of a large body."""
        return await self._database.run(read_chunk, message, number)

    async def expunge(self, lease: Lease, uids: Sequence[int]) -> None:
        """Remove messages in one transaction."""
        if self._local is None:
            await self._database.write(expunge, lease, uids)
        elif self._local.holds(lease):
            await self._database.write(remove, lease.folder, uids)
        else:
            raise MaildropInUse

    async def clear(self, wish: Clearing) -> int | None:
        """
        Remove messages, and tell of each in the trail, in one transaction.

        No session sees its mail go (RFC 1939 section 4: it alone changes the maildrop); one
        that begins meanwhile waits for the commit.

        Returns:
            How many were still there; None: a session has the maildrop, nothing was removed.

        Raises:
            StorageFailed: Nothing was removed.
        """
        token, *numbers = self._database.ids.many(1 + len(wish.uids))
        if self._local is None:
            lease = Lease(wish.account, wish.folder, token)
            return await self._database.write(clear, lease, wish, numbers)
        async with self._local.clearing(wish.account) as free:
            return await self._database.write(clear_and_tell, wish, numbers) if free else None


@dataclass(frozen=True, slots=True)
class _Wish:
    """A lease that somebody would like to have."""

    lease: Lease
    length: timedelta

    @property
    def name(self) -> str:
        return _lock_name(self.lease)


def _lock_name(lease: Lease) -> str:
    return f"maildrop/{lease.account}"


def take_leases(conn: Connection, wishes: Sequence[_Wish]) -> Sequence[Exception | None]:
    """
    Take leases that are free or void; ``MaildropInUse`` for the others.

    A ``BatchQuery``. Two nodes that want the same one at once clash on the key of the row:
    one of them tries again and finds it taken.
    """
    now = datetime.now(UTC)
    names = sorted({wish.name for wish in wishes})
    held = {row.name: row.until for row in conn.execute(_HELD, {"names": names})}
    void = [name for name, until in held.items() if until < now]
    if void:
        conn.execute(delete(lock).where(lock.c.name.in_(void), lock.c.until < now))
    taken = set(held) - set(void)
    answers: list[Exception | None] = []
    rows = []
    for wish in wishes:
        if wish.name in taken:
            answers.append(MaildropInUse())
            continue
        taken.add(wish.name)
        rows.append({"name": wish.name, "owner": wish.lease.token, "until": now + wish.length})
        answers.append(None)
    if rows:
        conn.execute(insert(lock), rows)
    return answers


def renew_lease(conn: Connection, lease: Lease, length: timedelta) -> bool:
    """Move the end of a lease; False: it is no longer ours."""
    moved = conn.execute(
        update(lock)
        .where(lock.c.name == _lock_name(lease), lock.c.owner == lease.token)
        .values(until=datetime.now(UTC) + length)
    )
    return moved.rowcount == 1


def release_leases(conn: Connection, leases: Sequence[Lease]) -> Sequence[None]:
    """Drop leases that are still ours; a ``BatchQuery``."""
    tokens = [lease.token for lease in leases]
    names = [_lock_name(lease) for lease in leases]
    conn.execute(_RELEASE, {"names": names, "tokens": tokens})
    return [None] * len(leases)


def take_snapshot(conn: Connection, lease: Lease) -> Snapshot:
    """List one maildrop in order of arrival; RFC 1939 section 5."""
    uidvalidity = conn.scalar(_UIDVALIDITY, {"folder": lease.folder})
    driver = driver_of(conn)
    list_ = _list(conn, lease.folder) if driver is None else _list_texts(driver, lease.folder)
    uids, messages, octets = array("q"), array("q"), array("q")
    for some in list_:
        uids.extend(some[0])
        messages.extend(some[1])
        octets.extend(some[2])
    return Snapshot(lease, uidvalidity or 0, uids, messages, octets)


def _list(conn: Connection, inbox: FolderId) -> Iterator[Sequence[Iterable[int]]]:
    """Give the columns of a listing, some rows at a time."""
    for some in conn.execute(_LISTING, {"folder": inbox}).partitions(_ROWS):
        yield tuple(zip(*some, strict=True))


def _list_texts(driver: SqliteConnection, inbox: FolderId) -> Iterator[Sequence[Iterable[int]]]:
    """
    Do the same on SQLite, which writes a column of some rows as one text.

    For rows it would give the interpreter's lock away for each, and win it back from the
    reactor. Each statement sees a later moment: what arrives meanwhile has a higher uid and is
    listed, what goes meanwhile is as if it had gone just before or behind the listing.
    """
    behind = 0
    while True:
        (texts,) = _COLUMNS.rows(driver, folder=inbox, behind=behind)
        some = [json.loads(text) for text in texts]
        yield some
        if len(some[0]) < _ROWS:
            return
        behind = some[0][-1]


def glance_at_maildrop(conn: SqliteConnection, lease: Lease) -> Snapshot | None:
    """List a maildrop as ``take_snapshot`` does; None: it is no small one."""
    row = conn.execute(_SMALL, (lease.folder,)).fetchone()
    if row is None or row[1] > _GLANCE_MESSAGES:
        return None
    rows = conn.execute(_SMALL_LISTING, (lease.folder,)).fetchall()
    uids, messages, octets = zip(*rows, strict=True) if rows else ((), (), ())
    return Snapshot(lease, row[0], array("q", uids), array("q", messages), array("q", octets))


def glance_at_bodies(
    conn: SqliteConnection, messages: Sequence[MessageId]
) -> dict[MessageId, bytes | None]:
    """Fetch bodies as ``read_bodies`` does."""
    return dict(conn.execute(_SMALL_BODIES, (json.dumps(messages),)).fetchall())


def read_bodies(conn: Connection, messages: Sequence[MessageId]) -> dict[MessageId, bytes | None]:
    """Fetch the bodies that stand in the rows of their messages; None: in chunks."""
    rows = conn.execute(_BODIES, {"messages": messages})
    return {MessageId(number): body for number, body in rows}


def read_chunk(conn: Connection, number: MessageId, index: int) -> bytes | None:
    """Fetch one chunk of a large body."""
    return conn.scalar(
        select(chunk.c.body).where(chunk.c.message_id == number, chunk.c.number == index)
    )


def expunge(conn: Connection, lease: Lease, uids: Sequence[int]) -> None:
    """
    Remove messages from a leased maildrop; RFC 1939 section 6.

    Raises:
        MaildropInUse: The lease was lost: another session may hold the maildrop.
    """
    # Locked: whoever takes over a lease that ran out must see what is left, not what was.
    row = select(lock.c.owner).where(lock.c.name == _lock_name(lease)).with_for_update()
    owner = conn.scalar(row)
    if owner != lease.token:
        raise MaildropInUse
    remove(conn, lease.folder, uids)


def clear(conn: Connection, lease: Lease, wish: Clearing, numbers: Sequence[int]) -> int | None:
    """
    Do what ``clear_and_tell`` does with a maildrop that no session has; None: one has it.

    The lease is given back in the same transaction, so nobody ever sees it: a session or a
    node that wants the maildrop meanwhile waits at the key of the row.
    """
    (refused,) = take_leases(conn, [_Wish(lease, _A_MOMENT)])
    if refused is not None:
        return None
    removed = clear_and_tell(conn, wish, numbers)
    release_leases(conn, [lease])
    return removed


@portable
def clear_and_tell(conn: Connection, wish: Clearing, numbers: Sequence[int]) -> int:
    """
    Remove messages as ``remove`` does, with a row of the trail for each.

    Args:
        numbers: Of the rows, one for each uid: made before, for the transaction may run in
            another process.

    Returns:
        How many were still there; no other one is told.
    """
    gone = _remove(conn, wish.folder, wish.uids)
    if gone:
        about = (wish.account, "", "", wish.address, "", wish.why, None)
        rows = zip(numbers, gone, strict=False)  # Some may have gone before.
        INSERT_STORY(conn, [(number, "removed", message, *about) for number, message in rows])
    return len(gone)


@portable
def remove(conn: Connection, inbox: FolderId, uids: Sequence[int]) -> None:
    """Remove messages from a maildrop that nobody else has open; RFC 1939 section 6."""
    _remove(conn, inbox, uids)


def _remove(conn: Connection, inbox: FolderId, uids: Sequence[int]) -> list[int]:
    """Remove them, and give the numbers of the messages that were there."""
    modseq = conn.scalar(select(folder.c.modseq).where(folder.c.id == inbox).with_for_update())
    if modseq is None:
        return []
    now, gone = datetime.now(UTC), []
    for start in range(0, len(uids), _MOST_PARAMETERS):
        some = uids[start : start + _MOST_PARAMETERS]
        gone += _expunge_some(conn, inbox, some, modseq + 1, now)
    return gone


def _expunge_some(
    conn: Connection, inbox: FolderId, uids: Sequence[int], modseq: int, now: datetime
) -> list[int]:
    which = (entry.c.folder_id == inbox) & entry.c.uid.in_(uids)
    there = conn.execute(
        select(entry.c.uid, entry.c.message_id, entry.c.octets).where(which).order_by(entry.c.uid)
    ).all()
    if not there:
        return []
    release_entries(conn, which)
    conn.execute(
        insert(expunged),
        [{"folder_id": inbox, "uid": row.uid, "modseq": modseq, "removed": now} for row in there],
    )
    conn.execute(
        update(folder)
        .where(folder.c.id == inbox)
        .values(
            modseq=modseq,
            messages=folder.c.messages - len(there),
            octets=folder.c.octets - sum(row.octets for row in there),
        )
    )
    return [row.message_id for row in there]


def drop_leases(conn: Connection, owner: AccountId | None = None) -> None:
    """Drop the leases of one account, or of all: at the start of a single node."""
    names = lock.c.name.startswith("maildrop/")
    if owner is not None:
        names = lock.c.name == f"maildrop/{owner}"
    conn.execute(delete(lock).where(names))
