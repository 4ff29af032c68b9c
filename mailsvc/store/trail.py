"""What happened, one row each; DESIGN: section 5, ``trail``."""

import json
from typing import Any

from sqlalchemy import Connection, insert

from mailsvc.model.ids import AccountId, IdSource
from mailsvc.store.tables import trail


def note(
    conn: Connection,
    ids: IdSource,
    event: str,
    *,
    account: AccountId | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """
    Write one row of the trail, in the transaction of what it tells.

    Args:
        event: Its kind, such as ``control``.
        account: Whom it is about.
        detail: Anything that JSON can say; never a password.
    """
    conn.execute(
        insert(trail).values(
            id=ids.next(),
            event=event,
            account_id=account,
            detail=json.dumps(detail or {}, ensure_ascii=False),
        )
    )
