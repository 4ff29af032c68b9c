"""
The mail that leaves: one row for each recipient on another server; DESIGN: section 6.

A courier takes rows by a lease, for a time: compare and swap, so that two of them never have the
same row, on any engine, and the rows of one that died are taken by others.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, or_, select, update

from mailsvc.model.ids import IdSource
from mailsvc.model.queued import Queued, Settled
from mailsvc.store.tables import attempt, queue, released

_LONGEST_HOST = 255
_NO_FOLDER = -1
"""Put down for the purge without a folder: the queue has let the body go."""


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


def add_to_queue(conn: Connection, rows: Sequence[Queued], first: datetime) -> None:
    """
    Put recipients down, in the transaction that answers for their message.

    Args:
        first: When the first attempt is due, aware UTC.
    """
    if rows:
        conn.execute(
            insert(queue),
            [
                {
                    "id": one.id,
                    "message_id": one.message,
                    "sender": one.sender,
                    "recipient": one.recipient,
                    "next_hop": one.domain,
                    "attempts": one.attempts,
                    "next_attempt": first,
                    "expires": one.expires,
                    "notify": one.notify,
                    "ret": one.returns,
                    "envid": one.identifier,
                    "orcpt": one.original,
                    "last_reply": "",
                    "held": False,
                    "created": one.created,
                }
                for one in rows
            ],
        )


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


def renew(conn: Connection, owner: int, numbers: Sequence[int], lease: timedelta) -> set[int]:
    """Keep rows for longer; gives those that are still ours."""
    until = datetime.now(UTC) + lease
    mine = (queue.c.id.in_(numbers), queue.c.lease_owner == owner)
    conn.execute(update(queue).where(*mine).values(lease_until=until))
    return set(conn.scalars(select(queue.c.id).where(*mine)))


def give_back(conn: Connection, owner: int, numbers: Sequence[int]) -> None:
    """Let others have rows that nothing was tried with."""
    mine = (queue.c.id.in_(numbers), queue.c.lease_owner == owner)
    conn.execute(update(queue).where(*mine).values(lease_owner=None, lease_until=None))


def settle(
    conn: Connection, ids: IdSource, owner: int, results: Sequence[Settled]
) -> list[Settled]:
    """
    Write down what became of attempts; rows that have come to their end go.

    Returns:
        The results that count: the others are of rows that somebody else has by now.
    """
    mine = select(queue.c.id, queue.c.message_id).where(
        queue.c.id.in_([one.id for one in results]), queue.c.lease_owner == owner
    )
    messages = {row.id: row.message_id for row in conn.execute(mine.with_for_update())}
    counted = [one for one in results if one.id in messages]
    if not counted:
        return []
    now = datetime.now(UTC)
    conn.execute(insert(attempt), [_attempt(ids, one, messages[one.id], now) for one in counted])
    for one in counted:
        if not one.ended:
            _wait(conn, one)
    ended = [one.id for one in counted if one.ended]
    if ended:
        conn.execute(delete(queue).where(queue.c.id.in_(ended)))
        conn.execute(
            insert(released),
            [
                {"folder_id": _NO_FOLDER, "uid": number, "message_id": messages[number]}
                for number in ended
            ],
        )
    return counted


def queue_state(conn: Connection) -> QueueState:
    """Count what waits."""
    row = conn.execute(
        select(func.count(), func.min(queue.c.created)).where(queue.c.held.is_(False))
    ).one()
    held = conn.scalar(select(func.count()).where(queue.c.held.is_(True))) or 0
    return QueueState(row[0], held, row[1])


def _wait(conn: Connection, one: Settled) -> None:
    conn.execute(
        update(queue)
        .where(queue.c.id == one.id)
        .values(
            attempts=queue.c.attempts + 1,
            next_attempt=one.next_attempt,
            last_reply=one.text,
            lease_owner=None,
            lease_until=None,
        )
    )


def _attempt(ids: IdSource, one: Settled, message: int, now: datetime) -> dict[str, Any]:
    return {
        "id": ids.next(),
        "queue_id": one.id,
        "message_id": message,
        "started": one.started,
        "ended": now,
        "host": one.host[:_LONGEST_HOST],
        "tls": one.tls,
        "outcome": one.outcome.value,
        "conversation": one.conversation or one.text,
    }


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
    )
