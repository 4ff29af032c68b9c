"""
Messages to many: one body, and an entry in each mailbox, some hundred in a transaction.

How far a broadcast is stands in its row, which changes in the same transaction: whoever is
killed goes on where it was, and nobody gets a message twice. The row is locked meanwhile, so
that two nodes take turns.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, and_, func, insert, select, update
from zope.interface import implementer

from mailsvc.errors import MailError, NotFound
from mailsvc.interfaces import IContent
from mailsvc.model.account import Account
from mailsvc.model.address import parse_address
from mailsvc.model.broadcast import Audience, BroadcastState
from mailsvc.model.ids import IdSource, MessageId
from mailsvc.model.status import Status
from mailsvc.store.accounts import accounts_after
from mailsvc.store.deliveries import DeliverBatch, insert_body
from mailsvc.store.delivery import Delivery, Target
from mailsvc.store.domains import domain_exists
from mailsvc.store.notices import WriteNotice
from mailsvc.store.routes import find_route
from mailsvc.store.tables import account, broadcast, domain, released, trail

STEP = 500
"""Mailboxes in one transaction: some 50 ms, so that other mail does not wait."""
_DISABLED = Status(5, 2, 1)
_NO_FOLDER = 0
"""Put down for the purge without a folder: the broadcast itself has let the body go."""


class Plan(NamedTuple):
    """
    A broadcast that begins.

    Args:
        delivery: The message; it has no targets yet.
        name: The domain, or the address of the group; empty for everybody.
        by: Who asked for it.
    """

    delivery: Delivery
    audience: Audience
    name: str
    by: str


def count_audience(conn: Connection, audience: Audience, name: str) -> int:
    """
    Count the mailboxes of an audience.

    Raises:
        NotFound: There is no such domain or group.
    """
    if audience is Audience.GROUP:
        return len(_members(conn, name))
    if audience is Audience.DOMAIN and not domain_exists(conn, name):
        raise NotFound(f"{name} is not a domain of ours; mailctl domain list shows them")
    where = _condition(conn, audience, name)
    return conn.scalar(select(func.count()).select_from(account).where(where)) or 0


def begin_broadcast(conn: Connection, ids: IdSource, plan: Plan) -> BroadcastState:
    """
    Store the message and note to whom it goes; nobody has it yet.

    Raises:
        NotFound: There is no such domain or group.
    """
    total, number = count_audience(conn, plan.audience, plan.name), ids.next()
    insert_body(conn, plan.delivery)
    conn.execute(
        insert(broadcast).values(
            id=number,
            message_id=plan.delivery.message,
            sender=plan.delivery.sender,
            octets=plan.delivery.octets,
            scope=plan.audience.value,
            subject=plan.name,
            created_by=plan.by,
            total=total,
            delivered=0,
            skipped=0,
            reached=0,
            created=plan.delivery.received,
        )
    )
    return get_broadcast(conn, number)


class BroadcastStep:
    """
    Takes a broadcast to the next mailboxes; a query.

    Args:
        ids: Numbers for the trail and for notices.
        write_notice: As in ``DeliverBatch``.
    """

    def __init__(self, ids: IdSource, write_notice: WriteNotice | None = None) -> None:
        self._ids = ids
        self._deliver = DeliverBatch(ids, write_notice)

    def __call__(self, conn: Connection, number: int, most: int = STEP) -> bool:
        """Serve the next *most* mailboxes; tells whether there may be more."""
        row = _lock(conn, number)
        if row is None:
            return False
        found = _next(conn, row, most)
        if found:
            self._serve(conn, row, found)
        if len(found) < most:
            _end(conn, row)
            return False
        return True

    def _serve(self, conn: Connection, row: Row[Any], found: Sequence[Account]) -> None:
        ready = [one for one in found if one.enabled]
        refused = [(one, _DISABLED) for one in found if not one.enabled]
        outcomes = self._deliver(conn, [_delivery(row, one) for one in ready])
        for one, outcome in zip(ready, outcomes, strict=True):
            if isinstance(outcome, MailError):
                refused.append((one, outcome.status))
        self._tell_skipped(conn, row, refused)
        conn.execute(
            update(broadcast)
            .where(broadcast.c.id == row.id)
            .values(
                delivered=row.delivered + len(found) - len(refused),
                skipped=row.skipped + len(refused),
                reached=found[-1].id,
            )
        )

    def _tell_skipped(
        self, conn: Connection, row: Row[Any], refused: Sequence[tuple[Account, Status]]
    ) -> None:
        story = [
            {
                "id": self._ids.next(),
                "event": "skipped",
                "message_id": row.message_id,
                "account_id": one.id,
                "sender": row.sender,
                "recipient": str(one.address),
                "status": str(status),
                "detail": "",
            }
            for one, status in refused
        ]
        if story:
            conn.execute(insert(trail), story)


def stop_broadcast(conn: Connection, number: int) -> BroadcastState:
    """
    End a broadcast where it is; who has it keeps it.

    Raises:
        NotFound: There is none under way with this number.
    """
    row = _lock(conn, number)
    if row is None:
        raise NotFound(f"broadcast {number} is not under way")
    _end(conn, row)
    return get_broadcast(conn, number)


def get_broadcast(conn: Connection, number: int) -> BroadcastState:
    """
    Look one up.

    Raises:
        NotFound: There is none with this number.
    """
    row = conn.execute(select(broadcast).where(broadcast.c.id == number)).first()
    if row is None:
        raise NotFound(f"there is no broadcast {number}; mailctl broadcast list shows them")
    return _state(row)


def list_broadcasts(conn: Connection, before: int | None, most: int) -> list[BroadcastState]:
    """List broadcasts, the latest first; *before*: only those that began before this one."""
    wanted = select(broadcast).order_by(broadcast.c.id.desc()).limit(most)
    if before is not None:
        wanted = wanted.where(broadcast.c.id < before)
    return [_state(row) for row in conn.execute(wanted)]


def unfinished(conn: Connection) -> Sequence[int]:
    """Give the numbers of those that are under way, the oldest first."""
    wanted = select(broadcast.c.id).where(broadcast.c.ended.is_(None))
    return conn.scalars(wanted.order_by(broadcast.c.id)).all()


def _lock(conn: Connection, number: int) -> Row[Any] | None:
    """Read the row of one under way, and keep others from going on with it."""
    which = (broadcast.c.id == number) & broadcast.c.ended.is_(None)
    return conn.execute(select(broadcast).where(which).with_for_update()).first()


def _end(conn: Connection, row: Row[Any]) -> None:
    """End it, and let the body go: it stays as long as somebody has it."""
    conn.execute(
        update(broadcast)
        .where(broadcast.c.id == row.id)
        .values(ended=datetime.now(UTC), message_id=None)
    )
    conn.execute(
        insert(released).values(folder_id=_NO_FOLDER, uid=row.id, message_id=row.message_id)
    )


def _next(conn: Connection, row: Row[Any], most: int) -> list[Account]:
    """Give the accounts that come next, in the order of their numbers."""
    audience = Audience(row.scope)
    if audience is not Audience.GROUP:
        where = _condition(conn, audience, row.subject)
        return accounts_after(conn, row.reached, most, where)
    behind = (one for one in _members(conn, row.subject) if one.id > row.reached)
    return sorted(behind, key=lambda one: one.id)[:most]


def _condition(conn: Connection, audience: Audience, name: str) -> ColumnElement[bool]:
    """Say which accounts are meant; one that waits for approval has no mailbox yet."""
    ready = account.c.pending.is_(False)
    if audience is not Audience.DOMAIN:
        return ready
    number = conn.scalar(select(domain.c.id).where(domain.c.name == name))
    return and_(ready, account.c.domain_id == (number or 0))


def _members(conn: Connection, name: str) -> tuple[Account, ...]:
    return find_route(conn, parse_address(name, utf8=True)).accounts


def _delivery(row: Row[Any], owner: Account) -> Delivery:
    return Delivery(
        message=MessageId(row.message_id),
        trace=b"",
        return_path_octets=0,
        content=_Stored(row.octets),
        sender=row.sender,
        received=row.created,
        client_ip="",
        targets=(
            Target(
                owner.id,
                owner.inbox,
                str(owner.address),
                owner.quota_octets,
                owner.quota_messages,
            ),
        ),
        event="broadcast",
        stored=True,
    )


@implementer(IContent)
class _Stored:
    """
    Content that is in the database already; only its size is asked for.

    Args:
        octets: Its size.
    """

    def __init__(self, octets: int) -> None:
        self.octets = octets

    def head(self, limit: int) -> bytes:
        """Say that nobody reads it."""
        raise NotImplementedError

    def pieces(self, size: int) -> Any:
        """Say that nobody reads it."""
        raise NotImplementedError


def _state(row: Row[Any]) -> BroadcastState:
    return BroadcastState(
        number=row.id,
        audience=Audience(row.scope),
        name=row.subject,
        sender=row.sender,
        octets=row.octets,
        created=row.created,
        created_by=row.created_by,
        total=row.total,
        delivered=row.delivered,
        skipped=row.skipped,
        ended=row.ended,
    )
