"""What is kept no longer: mail beyond its owner's wish, and records of what happened."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, select, tuple_

from mailsvc.model.ids import AccountId, FolderId, earliest_at
from mailsvc.store.tables import account, attempt, entry, expunged, folder, trail

EXPIRE = 500
"""Rows removed in one transaction: 80 ms at the most, so that nobody waits for it."""


class KeptInbox(NamedTuple):
    """
    An inbox that does not keep its mail for ever.

    Args:
        address: Of its account.
        days: After so many a message goes.
    """

    account: AccountId
    address: str
    folder: FolderId
    days: int


def list_kept_inboxes(conn: Connection) -> Sequence[KeptInbox]:
    """List them in the order of their accounts; a look into an index when there is none."""
    rows = conn.execute(
        select(account.c.id, account.c.address, folder.c.id, account.c.keep_days)
        .join(folder, (folder.c.account_id == account.c.id) & (folder.c.role == "inbox"))
        .where(account.c.keep_days.is_not(None))
        .order_by(account.c.id)
    )
    return [
        KeptInbox(AccountId(owner), address, FolderId(inbox), days)
        for owner, address, inbox, days in rows
    ]


def list_expired(
    conn: Connection, inbox: FolderId, before: datetime, most: int = EXPIRE
) -> Sequence[int]:
    """
    List the messages of a folder that came before a moment, at most some, by their uids.

    Reads the keys of one folder: an index by time would cost each delivery, and this is
    asked every few minutes.
    """
    return conn.scalars(
        select(entry.c.uid)
        .where(entry.c.folder_id == inbox, entry.c.received < before)
        .order_by(entry.c.uid)
        .limit(most)
    ).all()


def forget_story(conn: Connection, before: datetime, most: int = EXPIRE) -> int:
    """
    Remove rows of the trail that were written before a moment, the oldest first.

    Returns:
        How many there were; fewer than *most*: none is left.
    """
    old = select(trail.c.id).where(trail.c.id < earliest_at(before))
    found = conn.scalars(old.order_by(trail.c.id).limit(most)).all()
    if found:
        conn.execute(delete(trail).where(trail.c.id.in_(found)))
    return len(found)


def forget_attempts(conn: Connection, before: datetime, most: int = EXPIRE) -> int:
    """
    Remove attempts to deliver that were made before a moment, the oldest first.

    Returns:
        As ``forget_story``.
    """
    old = select(attempt.c.id).where(attempt.c.id < earliest_at(before))
    found = conn.scalars(old.order_by(attempt.c.id).limit(most)).all()
    if found:
        conn.execute(delete(attempt).where(attempt.c.id.in_(found)))
    return len(found)


def forget_removals(conn: Connection, before: datetime, most: int = EXPIRE) -> int:
    """
    Remove the tombstones of messages that were removed before a moment, the oldest first.

    Who asks for changes since an earlier time must then be told to read the folder anew.

    Returns:
        As ``forget_story``.
    """
    key = tuple_(expunged.c.folder_id, expunged.c.uid)
    old = select(expunged.c.folder_id, expunged.c.uid).where(expunged.c.removed < before)
    found = [tuple(row) for row in conn.execute(old.order_by(expunged.c.removed).limit(most))]
    if found:
        conn.execute(delete(expunged).where(key.in_(found)))
    return len(found)
