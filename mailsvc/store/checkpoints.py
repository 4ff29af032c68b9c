"""
Move SQLite's write-ahead log into the main file, beside the writer.

A checkpoint writes everything a second time and waits for the disk twice. Whoever commits
need not wait for that: what is in the log is safe.
"""

from sqlalchemy import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailsvc.config.units import KIB, MIB
from mailsvc.store.readers import Readers

EVERY = 8 * MIB
"""Octets that are written between two checkpoints."""
_PAGES = 16 * KIB
"""Octets of rows and indexes that come with one item; a guess is enough."""


class Checkpoints:
    """
    Counts what is written, and has the log moved now and then; on the reactor's thread only.

    Args:
        thread: Does it, one at a time.
    """

    _log = Logger()

    def __init__(self, thread: Readers) -> None:
        self._thread = thread
        self._octets = 0
        self._running = False
        self._stopped = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; blocks until then. The last connection moves what is left."""
        self._stopped = True
        self._thread.stop()

    def count(self, octets: int) -> None:
        """
        Note that an item of so many octets was committed, and start a checkpoint when it is time.

        What is written during a checkpoint does not count: between two of them the writer
        finds the log free, and can make its own when it has grown too long.
        """
        if self._running or self._stopped:
            return
        self._octets += octets + _PAGES
        if self._octets >= EVERY:
            self._octets = 0
            self._running = True
            _ = self._thread.ask(checkpoint).addCallbacks(self._done, self._failed)

    def _done(self, _: None) -> None:
        self._running = False

    def _failed(self, failure: Failure) -> None:
        """Leave it to the next: nothing is lost, the log only grows."""
        self._running = False
        self._log.warn("a checkpoint failed: {error}", error=failure.getErrorMessage())


def checkpoint(connection: Connection) -> None:
    """Move what nobody reads any more; waits for no reader and no writer."""
    connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
