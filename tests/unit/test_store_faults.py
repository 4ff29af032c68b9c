"""What went wrong is told apart: a full disk, a lost connection, a conflict, a bug."""

import errno
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mailsvc.errors import NotFound, StorageFailed, StorageFull, TooBusy
from mailsvc.store.faults import (
    disk_is_full,
    file_is_locked,
    is_gone,
    is_gone_before_commit,
    to_mail_error,
    worth_another_try,
)


class DriverError(Exception):
    """An error of psycopg or PyMySQL."""

    def __init__(self, *args: object, sqlstate: str | None = None) -> None:
        super().__init__(*args)
        self.sqlstate = sqlstate


def raised(
    orig: Exception, statement: str | None = "INSERT", *, lost: bool = False, kind: Any = None
) -> Exception:
    """Wrap a driver's error as SQLAlchemy does; a COMMIT has no statement."""
    wrapped: Exception = (kind or OperationalError)(
        statement, None, orig, connection_invalidated=lost
    )
    return wrapped


FULL = [
    raised(sqlite3.OperationalError("database or disk is full")),
    raised(sqlite3.OperationalError("database or disk is full"), None),
    raised(DriverError("could not extend file: No space left on device", sqlstate="53100")),
    raised(DriverError(1114, "The table 'message' is full")),
    raised(DriverError(1021, "Disk full (/tmp); waiting for someone to free some space")),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
]
LOST = [
    raised(DriverError("server closed the connection"), lost=True),
    raised(DriverError("server closed the connection"), None, lost=True),
    raised(DriverError(2003, "cannot connect"), None),
    raised(DriverError("connection refused"), None),
    PoolTimeout(),
]
CONFLICTS = [
    raised(DriverError(1213, "Deadlock found")),
    raised(DriverError(1213, "Deadlock found"), None),  # how Galera refuses a COMMIT
    raised(DriverError(1205, "Lock wait timeout")),
    raised(DriverError(1020, "Record has changed since last read")),
    raised(DriverError("could not serialize", sqlstate="40001")),
    raised(DriverError("could not serialize", sqlstate="40001"), None),
    raised(DriverError("deadlock detected", sqlstate="40P01")),
    raised(sqlite3.IntegrityError("UNIQUE constraint failed"), kind=IntegrityError),
]
BUGS = [
    raised(sqlite3.OperationalError("no such table"), kind=ProgrammingError),
    raised(sqlite3.OperationalError("database is locked"), "BEGIN IMMEDIATE"),
    ZeroDivisionError(),
]


@pytest.mark.parametrize("error", [*FULL, *LOST, *CONFLICTS, *BUGS])
def test_each_fault_has_one_name(error: Exception) -> None:
    """Each is answered in its own way, also when it shows only in the COMMIT."""
    assert disk_is_full(error) == (error in FULL)
    assert is_gone(error) == (error in LOST)
    assert worth_another_try(error) == (error in CONFLICTS)


def test_a_locked_file_is_told_from_every_other_fault(tmp_path: Path) -> None:
    """It is locked as a whole, so trying items singly helps none of them."""
    first, second = (sqlite3.connect(tmp_path / "x.db", timeout=0) for _ in range(2))
    first.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as caught:
        second.execute("BEGIN IMMEDIATE")
    first.close()
    second.close()

    assert file_is_locked(raised(caught.value, "BEGIN IMMEDIATE"))
    assert not any(
        file_is_locked(error) for error in [*FULL, *LOST, *CONFLICTS, ZeroDivisionError()]
    )


@pytest.mark.parametrize("error", [*FULL, *LOST, *CONFLICTS, *BUGS])
def test_only_a_loss_in_a_statement_is_surely_before_the_commit(error: Exception) -> None:
    """What may have been committed is never repeated by itself."""
    assert is_gone_before_commit(error) == (error is LOST[0])


@pytest.mark.parametrize("error", [*FULL, *LOST, *CONFLICTS, *BUGS[:-1]])
def test_a_peer_hears_nothing_of_the_database(error: Exception) -> None:
    """It is our fault, it is temporary, and that is all."""
    told = to_mail_error(error)

    assert type(told) is (StorageFull if error in FULL else StorageFailed)
    assert str(told) == type(told).text


@pytest.mark.parametrize("error", [TooBusy(), NotFound("no such user"), ZeroDivisionError()])
def test_what_is_meant_for_somebody_stays_as_it_is(error: Exception) -> None:
    """And a bug stays a bug: the session logs it."""
    assert to_mail_error(error) is error
