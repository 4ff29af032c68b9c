"""What is kept no longer: mail that is older than its owner keeps it."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select

from mailsvc.model.ids import AccountId, FolderId
from mailsvc.store.tables import account, entry, folder

EXPIRE = 500
"""Messages removed in one transaction: 80 ms at the most, so that nobody waits for it."""


class KeptInbox(NamedTuple):
    """
    An inbox that does not keep its mail for ever.

    Args:
        days: After so many a message goes.
    """

    account: AccountId
    folder: FolderId
    days: int


def list_kept_inboxes(conn: Connection) -> Sequence[KeptInbox]:
    """List them in the order of their accounts; a look into an index when there is none."""
    rows = conn.execute(
        select(account.c.id, folder.c.id, account.c.keep_days)
        .join(folder, (folder.c.account_id == account.c.id) & (folder.c.role == "inbox"))
        .where(account.c.keep_days.is_not(None))
        .order_by(account.c.id)
    )
    return [KeptInbox(AccountId(owner), FolderId(inbox), days) for owner, inbox, days in rows]


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
