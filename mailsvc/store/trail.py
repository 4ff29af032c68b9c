"""What happened, one row each; DESIGN: section 5, ``trail``."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from sqlalchemy import Connection, insert

from mailsvc.model.ids import AccountId, IdSource
from mailsvc.store.tables import trail

P = ParamSpec("P")
Result = TypeVar("Result")


class Record(NamedTuple):
    """
    What an administrator did.

    Args:
        by: Who.
        did: The command, such as ``user add``.
        detail: To what; anything that JSON can say, never a password.
    """

    by: str
    did: str
    detail: Mapping[str, Any]


def recorded(
    conn: Connection,
    ids: IdSource,
    record: Record,
    query: Callable[Concatenate[Connection, P], Result],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> Result:
    """Change something and note who did it, in one transaction."""
    result = query(conn, *args, **kwargs)
    _note_record(conn, ids, record, None)
    return result


def recorded_about(
    conn: Connection,
    ids: IdSource,
    record: Record,
    query: Callable[Concatenate[Connection, P], AccountId],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> AccountId:
    """Change an account, as ``recorded`` does; the query gives its number."""
    whose = query(conn, *args, **kwargs)
    _note_record(conn, ids, record, whose)
    return whose


def _note_record(
    conn: Connection, ids: IdSource, record: Record, account: AccountId | None
) -> None:
    detail = {"by": record.by, "did": record.did, **record.detail}
    note(conn, ids, "control", account=account, detail=detail)


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
