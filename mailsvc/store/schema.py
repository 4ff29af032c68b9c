"""Bring the database to the schema of this version, or say who must."""

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from mailsvc.errors import StartError
from mailsvc.store.engine import Engines
from mailsvc.store.faults import disk_is_full, worth_another_try
from mailsvc.store.revisions import NEWEST, revision_of

_MOST_TRIES = 5

P = ParamSpec("P")
Result = TypeVar("Result")
Query = Callable[Concatenate[Connection, P], Result]


def transact(
    engines: Engines, query: Query[P, Result], /, *args: P.args, **kwargs: P.kwargs
) -> Result:
    """
    Run one transaction before the threads run, or in a command; blocks until done.

    What only lost to another node's transaction is run again.

    Raises:
        StartError: The database cannot be used; the text says what to do.
        Exception: Whatever *query* raises; nothing was changed.
    """
    for left in reversed(range(_MOST_TRIES)):
        try:
            with engines.write.begin() as connection:
                return query(connection, *args, **kwargs)
        except DBAPIError as error:
            if not left or not worth_another_try(error):
                raise _explain(error) from None
    raise AssertionError("the last try returns or raises")


def prepare(engines: Engines) -> None:
    """
    Make or upgrade an SQLite database; check any other; blocks until done.

    Raises:
        StartError: The database cannot be used; the text says what to do.
    """
    transact(engines, _prepare, may_upgrade=engines.sqlite)


def upgrade(engines: Engines) -> str:
    """
    Bring any database to the schema of this version; blocks until done.

    Returns:
        The revision that it has now.

    Raises:
        StartError: The database cannot be used; the text says what to do.
    """
    return transact(engines, _prepare, may_upgrade=True)


def _prepare(connection: Connection, *, may_upgrade: bool) -> str:
    """Compare the revisions and upgrade if needed; give the one of this version."""
    current = revision_of(connection)
    if current == NEWEST:
        return NEWEST
    from mailsvc.store.migrations import known_revisions, take_all_steps

    if current is not None and current not in known_revisions(connection):
        raise StartError(
            f"the database is at revision {current}, which this version does not know: "
            "it was made by a newer mailsvc; install that one, or restore an older backup"
        )
    if not may_upgrade:
        raise StartError(
            f"the database is at revision {current or 'none'} and this version needs "
            f"{NEWEST}; make a backup, then run: mailctl database upgrade"
        )
    take_all_steps(connection)
    return NEWEST


def _explain(error: DBAPIError) -> StartError:
    if disk_is_full(error):
        return StartError("the disk of the database is full; make room and start again")
    cause = str(error.orig).strip().splitlines()[0]
    if "locked" in cause:
        return StartError(
            "the database is locked by another program; end that program and start again"
        )
    if "not a database" in cause or "malformed" in cause:
        return StartError(f"the database cannot be read ({cause}); restore it from a backup")
    return StartError(f"the database cannot be used ({cause}); check database.url")
