"""Insert many rows of one table with little work for each."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Insert, Table, insert
from sqlalchemy.dialects import mysql, postgresql, sqlite

from mailsvc.store.driver import driver_of, translated


class BulkInsert:
    """
    An INSERT of some columns of a table, put together once for each dialect.

    SQLAlchemy looks at every value of every row; with hundreds of rows in a transaction
    that costs more than the rows. Here the values go to the driver as they are, so the
    caller gives what the driver takes: a moment as microseconds, octets as bytes.

    Args:
        table: Where the rows go.
        columns: In the order of the values.
        only_new: Leave rows alone whose key is there.
    """

    def __init__(self, table: Table, *columns: str, only_new: bool = False) -> None:
        self._table = table
        self._columns = columns
        self._only_new = only_new
        self._texts: dict[str, tuple[str, bool]] = {}

    def __call__(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert *rows*; at least one."""
        text, positional = self._text(connection.dialect)
        driver = driver_of(connection)
        if driver is not None:
            with translated(text):
                driver.executemany(text, rows)
        elif positional:
            connection.exec_driver_sql(text, list(rows))
        else:
            connection.exec_driver_sql(
                text, [dict(zip(self._columns, row, strict=True)) for row in rows]
            )

    def _text(self, dialect: Dialect) -> tuple[str, bool]:
        known = self._texts.get(dialect.name)
        if known is None:
            statement = self._statement(dialect.name)
            compiled = statement.compile(dialect=dialect, column_keys=list(self._columns))
            positional = bool(getattr(compiled, "positional", False))
            if positional and tuple(compiled.positiontup or ()) != self._columns:
                raise AssertionError("the columns are not in the order of the table")
            known = self._texts[dialect.name] = (str(compiled), positional)
        return known

    def _statement(self, dialect: str) -> Insert:
        table = self._table
        if not self._only_new:
            return insert(table)
        if dialect == "sqlite":
            return sqlite.insert(table).on_conflict_do_nothing()
        if dialect == "postgresql":
            return postgresql.insert(table).on_conflict_do_nothing()
        # IGNORE would hide other errors, too.
        (key,) = table.primary_key
        return mysql.insert(table).on_duplicate_key_update({key.name: key})
