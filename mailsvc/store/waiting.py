"""The queue as an administrator sees and changes it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, or_, select, update

from mailsvc.model.ids import IdSource
from mailsvc.model.outgoing import Outcome
from mailsvc.model.queued import Attempted, Queued, Settled
from mailsvc.model.receipt import queue_id
from mailsvc.model.status import Status
from mailsvc.model.waiting import Attempt, Pick, QueueAction, QueueChange, Waiting
from mailsvc.store.queue import list_rows, release_bodies
from mailsvc.store.settling import SettleBatch
from mailsvc.store.tables import attempt, message, queue

MOST_AT_ONCE = 500
"""Rows that one transaction changes."""
_LONGEST_CONVERSATION = 12_000
"""Characters that are shown."""
_BY_ADMINISTRATOR = "An administrator has sent it back"


def list_waiting(conn: Connection, pick: Pick, after: int, most: int) -> list[Waiting]:
    """List recipients that wait, the oldest first."""
    now = datetime.now(UTC)
    rows = conn.execute(
        select(queue, message.c.octets)
        .join(message, message.c.id == queue.c.message_id)
        .where(*_conditions(pick), queue.c.id > after)
        .order_by(queue.c.id)
        .limit(most)
    )
    return [_waiting(row, now) for row in rows]


def list_attempts(conn: Connection, number: int, after: int, most: int) -> list[Attempt]:
    """List the attempts with a message, the oldest first."""
    rows = conn.execute(
        select(attempt)
        .where(attempt.c.message_id == number, attempt.c.id > after)
        .order_by(attempt.c.id)
        .limit(most)
    )
    return [
        Attempt(
            number=row.id,
            queue=row.queue_id,
            started=row.started,
            ended=row.ended,
            host=row.host,
            tls=row.tls,
            outcome=Outcome(row.outcome),
            conversation=row.conversation[:_LONGEST_CONVERSATION],
        )
        for row in rows
    ]


def domains_of(conn: Connection, pick: Pick) -> set[str]:
    """Tell for which domains the recipients are."""
    return set(conn.scalars(select(queue.c.next_hop).where(*_conditions(pick)).distinct()))


def change_queue(
    conn: Connection, action: QueueAction, pick: Pick, settle: SettleBatch, ids: IdSource
) -> QueueChange:
    """
    Do something with recipients that wait, some hundred at most; those under way are left.

    Args:
        settle: Sends back what is to bounce.
        ids: Makes a number for whoever does that.
    """
    now = datetime.now(UTC)
    wanted = (*_conditions(pick), *_useful(action))
    free = or_(queue.c.lease_until.is_(None), queue.c.lease_until <= now)
    numbers = conn.scalars(
        select(queue.c.id).where(*wanted, free).limit(MOST_AT_ONCE).with_for_update()
    ).all()
    busy = conn.scalar(select(func.count()).select_from(queue).where(*wanted, ~free)) or 0
    if numbers:
        _do(conn, action, numbers, settle, ids, now)
    return QueueChange(changed=len(numbers), left=busy)


def _do(
    conn: Connection,
    action: QueueAction,
    numbers: Sequence[int],
    settle: SettleBatch,
    ids: IdSource,
    now: datetime,
) -> None:
    these = queue.c.id.in_(numbers)
    match action:
        case QueueAction.RETRY:
            conn.execute(update(queue).where(these).values(next_attempt=now, last_reply=""))
        case QueueAction.HOLD:
            conn.execute(update(queue).where(these).values(held=True))
        case QueueAction.RELEASE:
            conn.execute(update(queue).where(these).values(held=False, next_attempt=now))
        case QueueAction.DELETE:
            release_bodies(conn, numbers)
            conn.execute(delete(queue).where(these))
        case QueueAction.BOUNCE:
            owner = ids.next()
            conn.execute(update(queue).where(these).values(lease_owner=owner))
            settle(conn, [_returned(row, owner, now) for row in list_rows(conn, numbers)])


def _useful(action: QueueAction) -> list[ColumnElement[bool]]:
    """Leave out what is as it should be, so that the same command comes to an end."""
    match action:
        case QueueAction.RETRY:
            late = or_(queue.c.next_attempt > datetime.now(UTC), queue.c.last_reply != "")
            return [queue.c.held.is_(False), late]
        case QueueAction.HOLD:
            return [queue.c.held.is_(False)]
        case QueueAction.RELEASE:
            return [queue.c.held.is_(True)]
        case _:
            return []


def _returned(row: Queued, owner: int, now: datetime) -> Attempted:
    asked = row.notify.split(",") if row.notify else []
    told = not asked or "FAILURE" in asked
    done = Settled(
        id=row.id,
        outcome=Outcome.BOUNCE,
        next_attempt=now,
        text=_BY_ADMINISTRATOR,
        started=now,
        status=Status(5, 0, 0),
        report="failed" if told else "",
    )
    return Attempted(owner, ((row, done),))


def _conditions(pick: Pick) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if pick.message:
        found.append(queue.c.message_id == int(pick.message, 16))
    if pick.sender:
        found.append(queue.c.sender == ("" if pick.sender == "<>" else pick.sender))
    if pick.recipient:
        found.append(queue.c.recipient == pick.recipient)
    if pick.domain:
        found.append(queue.c.next_hop == pick.domain)
    if pick.held:
        found.append(queue.c.held.is_(True))
    return [and_(*found)] if found else []


def _waiting(row: Row[Any], now: datetime) -> Waiting:
    return Waiting(
        number=row.id,
        message=queue_id(row.message_id),
        sender=row.sender,
        recipient=row.recipient,
        octets=row.octets,
        attempts=row.attempts,
        created=row.created,
        next_attempt=row.next_attempt,
        expires=row.expires,
        held=row.held,
        under_way=row.lease_until is not None and row.lease_until > now,
        reply=row.last_reply,
    )
