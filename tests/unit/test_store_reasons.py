"""An administrator hears why the database does not answer; never its password."""

import socket
import sqlite3
from collections.abc import Iterator

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mailsvc.config.settings import DatabaseSettings
from mailsvc.errors import StorageFailed
from mailsvc.model.ids import IdSource
from mailsvc.store.database import Database
from mailsvc.store.engine import open_engines
from mailsvc.store.overview import overview
from mailsvc.store.reasons import reason_of
from tests.support.pump import Pump

SECRET = "Tr0ub4dor"
POSTGRESQL = f"postgresql+psycopg://mail:{SECRET}@db/mail"


def behind(cause: Exception) -> StorageFailed:
    """Make what a front end is told about it."""
    error = StorageFailed()
    error.__cause__ = cause
    return error


def wrapped(*args: object) -> OperationalError:
    """Raise a driver's error as SQLAlchemy does, with a statement that holds mail."""
    return OperationalError("INSERT", {"body": "private"}, Exception(*args))


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Give a port where nobody listens, and nobody else begins to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def ask(url: str) -> tuple[str, str]:
    """Ask a database; tells what a mail client hears, and what an administrator reads."""
    pump = Pump()
    engines = open_engines(url, 1, 1)
    database = Database(engines, DatabaseSettings(readers=1, writers=1), pump, IdSource())
    database.start()
    try:
        with pytest.raises(StorageFailed) as caught:
            pump.finish(database.run(overview))
        return str(caught.value), database.why(caught.value)
    finally:
        database.stop()


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [
        (
            "postgresql+psycopg",
            'connection to server at "127.0.0.1", port {} failed: Connection refused',
        ),
        (
            "mysql+pymysql",
            "Can't connect to MySQL server on '127.0.0.1' ([Errno 111] Connection refused)",
        ),
    ],
)
def test_a_server_that_is_down_is_told(closed_port: int, scheme: str, reason: str) -> None:
    """To an administrator, in the driver's first line; a client hears the same as ever."""
    heard, read = ask(f"{scheme}://mail:{SECRET}@127.0.0.1:{closed_port}/mail")

    assert heard == "Our storage is not available; please try again later"
    assert read.endswith(reason.format(closed_port))


def test_a_file_that_cannot_be_opened_is_told() -> None:
    """Its folder is gone."""
    heard, read = ask("sqlite:////there/is/none@all/mailsvc.db")

    assert heard == StorageFailed.text
    assert read == "unable to open database file"


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "mysql+pymysql"])
@pytest.mark.parametrize("password", [f"a@{SECRET}", f"a@{SECRET}/b"])
def test_a_password_that_became_a_host_is_not_told(scheme: str, password: str) -> None:
    """An "@" that was not written as %40; drivers name the host that they did not find."""
    _, read = ask(f"{scheme}://mail:{password}@127.0.0.1/mail")

    assert SECRET not in read
    assert "%40" in read


@pytest.mark.parametrize(
    ("url", "cause", "reason"),
    [
        (POSTGRESQL, wrapped("the disk\nLINE 1: INSERT"), "the disk"),
        (POSTGRESQL, wrapped("\nlate words"), "late words"),
        (POSTGRESQL, wrapped(), "Exception"),
        (POSTGRESQL, wrapped(1045, "Access denied\nfor you"), "Access denied"),
        (POSTGRESQL, PoolTimeout("all are in use"), "all are in use"),
        (POSTGRESQL, OSError(111, "Connection refused"), "Connection refused"),
        (POSTGRESQL, wrapped("x" * 1000), "x" * 300),
        (POSTGRESQL, wrapped(f"no: password={SECRET}"), "no: password=***"),
        (f"{POSTGRESQL}?sslpassword=k3y", wrapped(f"{SECRET}, k3y"), "***, ***"),
        (r"mysql+pymysql://mail:a%40\b@db/mail", wrapped(r"a@\b or 'a@\\b'"), "*** or '***'"),
        ("sqlite:////x.db", wrapped("database is locked"), "database is locked"),
    ],
)
def test_it_is_one_line_without_secrets(url: str, cause: Exception, reason: str) -> None:
    """Nor is the statement shown, with the mail in its values."""
    assert reason_of(behind(cause), make_url(url)) == reason


def test_an_error_without_a_cause_speaks_for_itself() -> None:
    """The daemon is about to stop, for example."""
    assert reason_of(StorageFailed("closed"), make_url(POSTGRESQL)) == "closed"
    full = OperationalError(None, None, sqlite3.OperationalError("database or disk is full"))
    assert reason_of(behind(full), make_url("sqlite:////x.db")) == "database or disk is full"
