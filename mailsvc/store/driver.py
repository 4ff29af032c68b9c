"""
SQLite's own driver, below SQLAlchemy, for the statements of every message.

SQLAlchemy's work for a statement costs several times what SQLite takes to run it. What goes this
way is given as the driver takes it: moments as microseconds, octets as bytes.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Executable, Select, bindparam, func, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

_DIALECT = sqlite.dialect()


def driver_of(connection: Connection) -> sqlite3.Connection | None:
    """Give the driver's connection; None: it is another database."""
    found = connection.connection.driver_connection
    return found if isinstance(found, sqlite3.Connection) else None


def numbers_of(name: str) -> Select[Any]:
    """Make the right side of ``IN`` for numbers that ``as_list`` gives: the text stays the same."""
    return select(func.json_each(bindparam(name)).table_valued("value").c.value)


def as_list(numbers: Iterable[int]) -> str:
    """Write numbers for ``numbers_of``."""
    return json.dumps(list(numbers))


class DriverStatement:
    """
    A statement that is put together once.

    Args:
        statement: Of SQLAlchemy's, with named parameters.
    """

    def __init__(self, statement: Executable) -> None:
        compiled: Any = statement.compile(dialect=_DIALECT)  # type: ignore[attr-defined]  # Core's statements have it
        self._text = str(compiled)
        self._names: tuple[str, ...] = tuple(compiled.positiontup or ())
        self._fixed: dict[str, Any] = {
            name: value for name, value in compiled.params.items() if value is not None
        }

    def rows(self, driver: sqlite3.Connection, **values: Any) -> list[Any]:
        """Run it and give all rows."""
        with translated(self._text):
            return driver.execute(self._text, self._ordered(values)).fetchall()

    def many(self, driver: sqlite3.Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run it once for each row."""
        with translated(self._text):
            driver.executemany(self._text, [self._ordered(row) for row in rows])

    def _ordered(self, values: Mapping[str, Any]) -> Sequence[Any]:
        given = {**self._fixed, **values} if self._fixed else values
        return [given[name] for name in self._names]


@contextmanager
def translated(statement: str) -> Iterator[None]:
    """Raise the driver's errors as SQLAlchemy does."""
    try:
        yield
    except sqlite3.Error as error:
        raise DBAPIError.instance(statement, None, error, sqlite3.Error) from error
