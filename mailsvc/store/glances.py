"""Small queries of an SQLite database, answered at once on the reactor's thread."""

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Engine, PoolProxiedConnection
from sqlalchemy.exc import SQLAlchemyError

Result = TypeVar("Result")

SLOW = 0.02
"""Seconds after which a query was no small one: the disk is cold, or busy."""
REST = 0.25
"""Seconds in which the threads are asked instead, so that nobody waits for the disk often."""


class Glances:
    """
    Looks into pages that are mostly in memory, without a thread.

    A thread that reads a row lets go of the interpreter's lock for each step and must win it
    back from the reactor: a maildrop of ten messages costs some twenty changes of thread,
    more than all the rest of its session. The same query here takes 20 to 100 us.

    Args:
        engine: Where to read; a file of SQLite.
        seconds: A clock that never goes back.
    """

    def __init__(self, engine: Engine, seconds: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._seconds = seconds
        self._resting_until = 0.0
        self._held: PoolProxiedConnection | None = None

    def look(self, query: Callable[[sqlite3.Connection], Result | None]) -> Result | None:
        """
        Ask, on the reactor's thread only.

        Args:
            query: Reads a few rows to their end; None: there is too much for a glance.

        Returns:
            None: ask the threads; they also find out what is wrong.
        """
        began = self._seconds()
        if began < self._resting_until:
            return None
        try:
            found = query(self._connection())
        except (sqlite3.Error, SQLAlchemyError):
            self.close()
            self._rest()
            return None
        if self._seconds() - began > SLOW:
            self._rest()
        return found

    def close(self) -> None:
        """Let the connection go; the next look makes another one."""
        held, self._held = self._held, None
        if held is not None:
            held.invalidate()

    def _rest(self) -> None:
        self._resting_until = self._seconds() + REST

    def _connection(self) -> sqlite3.Connection:
        if self._held is None:
            self._held = self._engine.raw_connection()
            # The reactor waits for no lock.
            self._driver(self._held).execute("PRAGMA busy_timeout = 0")
        return self._driver(self._held)

    @staticmethod
    def _driver(held: PoolProxiedConnection) -> sqlite3.Connection:
        connection = held.driver_connection
        assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - the engine is SQLite's
        return connection
