"""Insert many rows of one table with little work for each."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Table, insert

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
    """

    def __init__(self, table: Table, *columns: str) -> None:
        self._statement = insert(table)
        self._columns = columns
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
            compiled = self._statement.compile(dialect=dialect, column_keys=list(self._columns))
            positional = bool(getattr(compiled, "positional", False))
            if positional and tuple(compiled.positiontup or ()) != self._columns:
                raise AssertionError("the columns are not in the order of the table")
            known = self._texts[dialect.name] = (str(compiled), positional)
        return known
