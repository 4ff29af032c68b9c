"""Read the trail, and write what no transaction of its own tells of."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

from sqlalchemy import ColumnElement, Connection, Row, or_, select

from mailsvc.model.ids import earliest_at, milliseconds_of
from mailsvc.model.receipt import queue_id
from mailsvc.model.story import StoryFilter, StoryRow
from mailsvc.store.bulk import BulkInsert
from mailsvc.store.portable import portable
from mailsvc.store.tables import account, trail

MOST_TOLD = 2000
"""Rows of one message that a trace shows."""
_KEYS = 500
_HOUR = 3600
_ROWS = select(trail, account.c.address.label("owner")).outerjoin(
    account, account.c.id == trail.c.account_id
)
_COLUMNS = (
    "id",
    "event",
    "message_id",
    "account_id",
    "client_ip",
    "sender",
    "recipient",
    "status",
    "detail",
    "header_key",
)
INSERT_STORY = BulkInsert(trail, *_COLUMNS)
_INSERT_NEW = BulkInsert(trail, *_COLUMNS, only_new=True)


def header_key(message_id: bytes | None, moment: datetime) -> int | None:
    """
    Make the number under which the trail finds a Message-ID; None: there is none.

    The hour stands in front, so that new rows are neighbours in the index.
    """
    if message_id is None:
        return None
    return _key(crc32(message_id.strip(b"<> \t")), int(moment.timestamp()) // _HOUR)


def _key(digest: int, hour: int) -> int:
    return hour << 32 | digest


StoryValues = tuple[Any, ...]
"""The number of a row and the fields of a ``Happening``; pickled in half the time of objects."""


@portable
def write_stories(conn: Connection, rows: Sequence[StoryValues]) -> None:
    """
    Write rows; each has its number already, for that is its time.

    Those that are there are left alone: whoever was not told that they were written asks again.
    """
    _INSERT_NEW(
        conn,
        [
            (
                number,
                event[:32],
                message,
                account_id,
                client_ip[:45],
                sender[:400],
                recipient[:400],
                status,
                detail,
                key,
            )
            for (
                number,
                event,
                client_ip,
                account_id,
                sender,
                recipient,
                message,
                key,
                status,
                detail,
            ) in rows
        ],
    )


def search_stories(
    conn: Connection, only: StoryFilter, before: int | None, most: int
) -> list[StoryRow]:
    """
    List rows of the trail, the latest first.

    Args:
        only: Which; its account is the key of an address.
        before: Only older ones than the row of this number.
    """
    wanted = _ROWS.where(*_conditions(only))
    if before is not None:
        wanted = wanted.where(trail.c.id < before)
    rows = conn.execute(wanted.order_by(trail.c.id.desc()).limit(most))
    return [_story(row) for row in rows]


def _conditions(only: StoryFilter) -> Iterator[ColumnElement[bool]]:
    if only.since is not None:
        yield trail.c.id >= earliest_at(only.since)
    if only.until is not None:
        yield trail.c.id < earliest_at(only.until)
    if only.account:
        yield account.c.address_key == only.account
    if only.address:
        yield or_(trail.c.sender == only.address, trail.c.recipient == only.address)
    if only.client_ip:
        yield trail.c.client_ip == only.client_ip
    if only.event:
        yield trail.c.event == only.event


def trace_number(conn: Connection, number: int) -> list[StoryRow]:
    """Tell the story of the message with a number, the oldest row first."""
    rows = conn.execute(
        _ROWS.where(trail.c.message_id == number).order_by(trail.c.id).limit(MOST_TOLD)
    )
    return [_story(row) for row in rows]


def trace_header(conn: Connection, message_id: bytes, since: datetime) -> list[StoryRow]:
    """Tell the stories of all messages with a Message-ID that came since a moment."""
    digest = crc32(message_id.strip(b"<> \t"))
    first, last = since.timestamp(), (datetime.now(UTC) + timedelta(hours=1)).timestamp()
    keys = [_key(digest, hour) for hour in range(int(first) // _HOUR, int(last) // _HOUR + 1)]
    found: set[int] = set()
    for start in range(0, len(keys), _KEYS):
        some = trail.c.header_key.in_(keys[start : start + _KEYS])
        found.update(conn.scalars(select(trail.c.message_id).where(some)))
    return [row for number in sorted(found) for row in trace_number(conn, number)]


def _story(row: Row[tuple[object, ...]]) -> StoryRow:
    return StoryRow(
        number=row.id,
        at=datetime.fromtimestamp(milliseconds_of(row.id) / 1000, UTC),
        event=row.event,
        message="" if row.message_id is None else queue_id(row.message_id),
        account=row.owner or "",
        client_ip=row.client_ip,
        sender=row.sender,
        recipient=row.recipient,
        status=row.status,
        detail=row.detail,
    )
