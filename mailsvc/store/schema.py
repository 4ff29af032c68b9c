"""Bring the database to the schema of this version, or say who must."""

from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from alembic import command
from mailsvc.errors import StartError
from mailsvc.store.engine import Engines
from mailsvc.store.faults import disk_is_full, worth_another_try

_MOST_TRIES = 5

P = ParamSpec("P")
Result = TypeVar("Result")
Query = Callable[Concatenate[Connection, P], Result]


def migrations() -> Path:
    """Find the migrations: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "alembic"
    return installed if installed.is_dir() else package.parent / "alembic"


def alembic_config(connection: Connection) -> Config:
    """Make alembic work on an open connection."""
    config = Config()
    config.set_main_option("script_location", str(migrations()))
    config.attributes["connection"] = connection
    return config


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
    current = MigrationContext.configure(connection).get_current_revision()
    config = alembic_config(connection)
    scripts = ScriptDirectory.from_config(config)
    wanted = str(scripts.get_current_head())
    if current == wanted:
        return wanted
    _refuse_newer(current, scripts)
    if not may_upgrade:
        raise StartError(
            f"the database is at revision {current or 'none'} and this version needs "
            f"{wanted}; make a backup, then run: mailctl database upgrade"
        )
    command.upgrade(config, "head")
    return wanted


def _refuse_newer(current: str | None, scripts: ScriptDirectory) -> None:
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise StartError(
            f"the database is at revision {current}, which this version does not know: "
            "it was made by a newer mailsvc; install that one, or restore an older backup"
        )


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
