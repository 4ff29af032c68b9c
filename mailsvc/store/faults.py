"""Tell a full disk from a lost connection, a deadlock and a bug, on each engine."""

import errno
import sqlite3

from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mailsvc.errors import CommandError, MailError, StorageFailed, StorageFull

_FULL_TEXTS = ("database or disk is full", "no space left", "disk full", "is full")
_POSTGRESQL_AGAIN = {"40001", "40P01"}
_MYSQL_AGAIN = {1020, 1205, 1213}
_PRIMARY = 0xFF
"""The bits of SQLite's extended error codes that tell the primary one."""


def disk_is_full(error: BaseException) -> bool:
    """Whether there was no room: SQLITE_FULL, PostgreSQL 53100, MariaDB 1021 and 1114, ENOSPC."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    if not isinstance(error, DBAPIError):
        return False
    return any(text in str(error.orig).lower() for text in _FULL_TEXTS)


def is_gone(error: BaseException) -> bool:
    """
    Whether the connection was lost or could not be made.

    When it was lost in a COMMIT, nobody knows the outcome, so such a transaction is
    never repeated by itself.
    """
    if not isinstance(error, DBAPIError):
        return isinstance(error, PoolTimeout)
    if error.connection_invalidated:
        return True
    # Without a statement it was a connect or a COMMIT; one that was refused is not lost.
    refused = worth_another_try(error) or disk_is_full(error)
    return isinstance(error, OperationalError) and error.statement is None and not refused


def is_gone_before_commit(error: BaseException) -> bool:
    """Whether the connection was lost while the transaction could not yet be committed."""
    return isinstance(error, DBAPIError) and is_gone(error) and error.statement is not None


def worth_another_try(error: BaseException) -> bool:
    """
    Whether the transaction was only in another one's way.

    Deadlock, serialization failure, or a key that another one took at the same moment: the
    next look at the rows tells which.
    """
    if isinstance(error, IntegrityError):
        return True
    if not isinstance(error, DBAPIError) or error.orig is None:
        return False
    if getattr(error.orig, "sqlstate", None) in _POSTGRESQL_AGAIN:
        return True
    return bool(error.orig.args) and error.orig.args[0] in _MYSQL_AGAIN


def file_is_locked(error: BaseException) -> bool:
    """Whether another program kept an SQLite file locked for longer than we wait."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    code = getattr(cause, "sqlite_errorcode", 0)
    return code & _PRIMARY in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def to_mail_error(error: Exception) -> Exception:
    """
    Say a fault of the database as a front end may tell it.

    Errors that are meant for a peer or an administrator stay as they are.
    """
    if isinstance(error, MailError | CommandError):
        return error
    if disk_is_full(error):
        return StorageFull()
    if isinstance(error, SQLAlchemyError | OSError):
        return StorageFailed()
    return error
