"""
The mail that leaves: one row for each recipient on another server; DESIGN: section 6.

A courier takes rows by a lease, for a time: compare and swap, so that two of them never have the
same row, on any engine, and the rows of one that died are taken by others.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    update,
)

from mailsvc.model.envelope import DeliverBy
from mailsvc.model.ids import IdSource
from mailsvc.model.outgoing import Outcome
from mailsvc.model.queued import Letter, Queued, QueueLease, Settled
from mailsvc.store.bulk import BulkInsert
from mailsvc.store.driver import DriverStatement, as_list, driver_of, numbers_of
from mailsvc.store.portable import portable
from mailsvc.store.stories import INSERT_STORY
from mailsvc.store.tables import attempt, message, microseconds, queue, released

_LONGEST_HOST = 255
_EVENTS = {
    Outcome.DONE: "sent",
    Outcome.LATER: "deferred",
    Outcome.UNKNOWN: "deferred",
    Outcome.BOUNCE: "bounced",
}
"""What the trail calls an outcome."""
_NO_FOLDER = -1
"""Put down for the purge without a folder: the queue has let the body go."""


_INSERT_QUEUE = BulkInsert(
    queue,
    "id",
    "message_id",
    "sender",
    "recipient",
    "next_hop",
    "attempts",
    "next_attempt",
    "expires",
    "lease_owner",
    "lease_until",
    "notify",
    "ret",
    "envid",
    "orcpt",
    "last_reply",
    "held",
    "require_tls",
    "notice_at",
    "deliver_by",
    "by_mode",
    "created",
)
_INSERT_ATTEMPTS = BulkInsert(
    attempt,
    "id",
    "queue_id",
    "message_id",
    "started",
    "ended",
    "host",
    "tls",
    "outcome",
    "conversation",
)
_OWNERS_DIRECT = DriverStatement(
    select(queue.c.id, queue.c.lease_owner).where(queue.c.id.in_(numbers_of("numbers")))
)
_DELETE_DIRECT = DriverStatement(delete(queue).where(queue.c.id.in_(numbers_of("numbers"))))
_INSERT_RELEASED = BulkInsert(released, "folder_id", "uid", "message_id")


class QueueState(NamedTuple):
    """
    The queue at a glance.

    Args:
        waiting: Recipients that wait, those under way included.
        held: Recipients that an administrator holds.
        oldest: When the oldest was accepted, aware UTC; None: there is none.
    """

    waiting: int
    held: int
    oldest: datetime | None


def add_to_queue(conn: Connection, rows: Sequence[tuple[Queued, QueueLease | None]]) -> None:
    """
    Put recipients down, in the transaction that answers for their message; due at once.

    Args:
        rows: Each with who has it in hand; None: nobody has.
    """
    if rows:
        _INSERT_QUEUE(conn, [_queue_row(one, lease) for one, lease in rows])


def _queue_row(one: Queued, lease: QueueLease | None) -> tuple[Any, ...]:
    created = microseconds(one.created)
    return (
        one.id,
        one.message,
        one.sender,
        one.recipient,
        one.domain,
        one.attempts,
        created,
        microseconds(one.expires),
        None if lease is None else lease.owner,
        None if lease is None else microseconds(lease.until),
        one.notify,
        one.returns,
        one.identifier,
        one.original,
        "",
        False,
        one.require_tls,
        None if one.notice_at is None else microseconds(one.notice_at),
        None if one.deliver_by is None else microseconds(one.deliver_by.until),
        "" if one.deliver_by is None else one.deliver_by.mode,
        created,
    )


@portable
def claim(
    conn: Connection, owner: int, lease: timedelta, most: int, busy: Iterable[str] = ()
) -> list[Queued]:
    """
    Take rows whose time has come, the one that waits longest first.

    Args:
        owner: Who takes them; each claimant has a number of its own.
        lease: How long they are his.
        most: How many at most.
        busy: Domains that are left alone for now.
    """
    now = datetime.now(UTC)
    due = (queue.c.held.is_(False), queue.c.next_attempt <= now, _is_free(now))
    wanted = select(queue.c.id).where(*due).order_by(queue.c.next_attempt, queue.c.id).limit(most)
    left_alone = list(busy)
    if left_alone:
        wanted = wanted.where(queue.c.next_hop.not_in(left_alone))
    numbers = list(conn.scalars(wanted))
    if not numbers:
        return []
    until = now + lease
    # Whoever was quicker has a lease by now: those rows are not ours.
    taken = update(queue).where(queue.c.id.in_(numbers), *due)
    conn.execute(taken.values(lease_owner=owner, lease_until=until))
    ours = select(queue).where(
        queue.c.id.in_(numbers), queue.c.lease_owner == owner, queue.c.lease_until == until
    )
    return [_queued(row) for row in conn.execute(ours.order_by(queue.c.id))]


@portable
def renew(conn: Connection, owner: int, numbers: Sequence[int], lease: timedelta) -> set[int]:
    """Keep rows for longer; gives those that are still ours."""
    until = datetime.now(UTC) + lease
    mine = (queue.c.id.in_(numbers), queue.c.lease_owner == owner)
    conn.execute(update(queue).where(*mine).values(lease_until=until))
    return set(conn.scalars(select(queue.c.id).where(*mine)))


@portable
def give_back(conn: Connection, owner: int, numbers: Sequence[int]) -> None:
    """Let others have rows that nothing was tried with."""
    mine = (queue.c.id.in_(numbers), queue.c.lease_owner == owner)
    conn.execute(update(queue).where(*mine).values(lease_owner=None, lease_until=None))


@portable
def postpone(conn: Connection, owner: int, numbers: Sequence[int], until: datetime) -> None:
    """Let rows wait, without an attempt: their server is known to be away."""
    mine = (queue.c.id.in_(numbers), queue.c.lease_owner == owner)
    later = func.min if conn.dialect.name == "sqlite" else func.least
    conn.execute(
        update(queue)
        .where(*mine)
        .values(
            next_attempt=later(queue.c.expires, bindparam("until", until, queue.c.expires.type)),
            lease_owner=None,
            lease_until=None,
        )
    )


def free_leases(conn: Connection) -> None:
    """Take all rows from whoever had them; only when nobody else can be there."""
    conn.execute(
        update(queue)
        .where(queue.c.lease_owner.is_not(None))
        .values(lease_owner=None, lease_until=None)
    )


def read_letters(conn: Connection, messages: Sequence[int], most: int) -> dict[int, Letter]:
    """
    Read messages that leave.

    Args:
        most: Octets above which a body is not read now.
    """
    body = case((message.c.octets <= most, message.c.body), else_=null())
    rows = conn.execute(
        select(message.c.id, message.c.octets, message.c.return_path_octets, body).where(
            message.c.id.in_(messages)
        )
    )
    return {number: Letter(octets, skip, found) for number, octets, skip, found in rows}


def settle(
    conn: Connection, ids: IdSource, results: Sequence[tuple[int, Queued, Settled]]
) -> set[int]:
    """
    Write down what became of attempts; rows that have come to their end go.

    Args:
        results: Each with the owner of its row.

    Returns:
        The numbers of the rows that count: the others are somebody else's by now.
    """
    owners = {one.id: owner for owner, _, one in results}
    found = {number for number, owner in _owners(conn, owners) if owner == owners[number]}
    counted = [(row, one) for _, row, one in results if one.id in found]
    if not counted:
        return found
    now = microseconds(datetime.now(UTC))
    _INSERT_ATTEMPTS(conn, [_attempt(ids, row, one, now) for row, one in counted])
    INSERT_STORY(conn, [_story(ids, row, one) for row, one in counted])
    for row, one in counted:
        if not one.ended:
            _wait(conn, row, one)
    ended = [(row, one) for row, one in counted if one.ended]
    if ended:
        _delete(conn, [one.id for _, one in ended])
        _INSERT_RELEASED(conn, [(_NO_FOLDER, one.id, row.message) for row, one in ended])
    return found


def _owners(conn: Connection, numbers: Collection[int]) -> Sequence[Any]:
    """Read who has rows, and keep others from taking them meanwhile."""
    driver = driver_of(conn)
    if driver is not None:
        return _OWNERS_DIRECT.rows(driver, numbers=as_list(numbers))
    mine = select(queue.c.id, queue.c.lease_owner).where(queue.c.id.in_(numbers))
    return conn.execute(mine.with_for_update()).all()


def _delete(conn: Connection, numbers: Sequence[int]) -> None:
    driver = driver_of(conn)
    if driver is not None:
        _DELETE_DIRECT.rows(driver, numbers=as_list(numbers))
    else:
        conn.execute(delete(queue).where(queue.c.id.in_(numbers)))


def list_rows(conn: Connection, numbers: Sequence[int]) -> list[Queued]:
    """Give rows by their numbers."""
    return [_queued(row) for row in conn.execute(select(queue).where(queue.c.id.in_(numbers)))]


def release_bodies(conn: Connection, numbers: Sequence[int]) -> None:
    """Put the bodies of rows down for the purge; the rows go next."""
    conn.execute(
        insert(released).from_select(
            ["folder_id", "uid", "message_id"],
            select(literal(_NO_FOLDER), queue.c.id, queue.c.message_id).where(
                queue.c.id.in_(numbers)
            ),
        )
    )


def queue_state(conn: Connection) -> QueueState:
    """Count what waits."""
    row = conn.execute(
        select(func.count(), func.min(queue.c.created)).where(queue.c.held.is_(False))
    ).one()
    held = conn.scalar(select(func.count()).where(queue.c.held.is_(True))) or 0
    return QueueState(row[0], held, row[1])


def _wait(conn: Connection, row: Queued, one: Settled) -> None:
    values: dict[str, Any] = {"notice_at": None} if one.report or row.notice_at is None else {}
    conn.execute(
        update(queue)
        .where(queue.c.id == one.id)
        .values(
            attempts=queue.c.attempts + 1,
            next_attempt=one.next_attempt,
            last_reply=one.text,
            lease_owner=None,
            lease_until=None,
            **values,
        )
    )


def _attempt(ids: IdSource, row: Queued, one: Settled, now: int) -> tuple[Any, ...]:
    return (
        ids.next(),
        one.id,
        row.message,
        microseconds(one.started),
        now,
        one.host[:_LONGEST_HOST],
        one.tls,
        one.outcome.value,
        one.conversation or one.text,
    )


def _story(ids: IdSource, row: Queued, one: Settled) -> tuple[Any, ...]:
    where = f"{one.host}: " if one.host else ""
    return (
        ids.next(),
        _EVENTS[one.outcome],
        row.message,
        None,
        "",
        row.sender,
        row.recipient,
        str(one.status),
        f"{where}{one.text}",
        None,
    )


def _is_free(now: datetime) -> ColumnElement[bool]:
    return or_(queue.c.lease_until.is_(None), queue.c.lease_until <= now)


def _queued(row: Row[Any]) -> Queued:
    return Queued(
        id=row.id,
        message=row.message_id,
        sender=row.sender,
        recipient=row.recipient,
        domain=row.next_hop,
        attempts=row.attempts,
        expires=row.expires,
        created=row.created,
        notify=row.notify,
        returns=row.ret,
        identifier=row.envid,
        original=row.orcpt,
        require_tls=row.require_tls,
        notice_at=row.notice_at,
        deliver_by=row.deliver_by and _deadline(row.deliver_by, row.by_mode),
    )


def _deadline(until: datetime, mode: str) -> DeliverBy:
    return DeliverBy(until, returns="R" in mode, trace="T" in mode)
