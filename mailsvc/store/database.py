"""The door to the database: queries on a few threads, writes in group commits."""

from collections.abc import Callable
from sqlite3 import Connection as SqliteConnection
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection
from twisted.internet.interfaces import IReactorFromThreads

from mailsvc.config.settings import DatabaseSettings
from mailsvc.errors import MailError
from mailsvc.model.ids import IdSource
from mailsvc.store.checkpoints import Checkpoints
from mailsvc.store.engine import Engines
from mailsvc.store.glances import Glances
from mailsvc.store.portable import CALLS, Call
from mailsvc.store.readers import Readers
from mailsvc.store.reasons import reason_of
from mailsvc.store.transactions import BatchQuery
from mailsvc.store.two_writers import TwoWriters
from mailsvc.store.writer import Writer
from mailsvc.store.writer_process import WriterProcess

P = ParamSpec("P")
Item = TypeVar("Item")
Result = TypeVar("Result")

_SPREAD = 0x9E3779B1
"""The golden ratio in 32 bits; Knuth's multiplicative hash."""

Query = Callable[Concatenate[Connection, P], Result]
"""A plain function of a connection that neither commits nor waits."""


class Database:
    """
    Runs queries and writes; everything on it is called on the reactor's thread.

    Args:
        engines: The open database.
        settings: How many threads, and how much goes into one transaction.
        reactor: Whose thread gets the answers.
        ids: Numbers for new rows.
        process: Commits deliveries beside us; SQLite only.
    """

    def __init__(
        self,
        engines: Engines,
        settings: DatabaseSettings,
        reactor: IReactorFromThreads,
        ids: IdSource,
        process: WriterProcess | None = None,
    ) -> None:
        self.ids = ids
        self._engines = engines
        self._readers = Readers(engines.read, settings.readers, reactor.callFromThread)
        self._checkpoints = (
            Checkpoints(Readers(engines.read, 1, reactor.callFromThread, "checkpoints"))
            if engines.sqlite
            else None
        )
        self._glances = Glances(engines.read) if engines.sqlite else None
        count = 1 if engines.sqlite else settings.writers
        threads = [Writer(engines.write, settings, reactor.callFromThread) for _ in range(count)]
        self._together = None if process is None else TwoWriters(threads[0], process, settings)
        self._writers: tuple[Writer | TwoWriters, ...] = (
            tuple(threads) if self._together is None else (self._together,)
        )

    @property
    def single(self) -> bool:
        """Whether this process has the database for itself: SQLite."""
        return self._engines.sqlite

    @property
    def waiting(self) -> int:
        """How many items wait for their commit."""
        return sum(writer.waiting for writer in self._writers)

    @property
    def writer(self) -> int | None:
        """The number of the process that commits deliveries; None: there is none now."""
        return None if self._together is None else self._together.process

    def start(self) -> None:
        """Start the threads."""
        self._readers.start()
        if self._checkpoints is not None:
            self._checkpoints.start()
        for writer in self._writers:
            writer.start()

    async def rest(self) -> None:
        """Wait for the process that commits deliveries, and end it: ``stop`` cannot wait."""
        if self._together is not None:
            await self._together.rest()

    def stop(self) -> None:
        """Commit what waits, end the threads and close the connections; blocks until then."""
        for writer in self._writers:
            writer.stop()
        if self._checkpoints is not None:
            self._checkpoints.stop()
        self._readers.stop()
        if self._glances is not None:
            self._glances.close()
        self._engines.close()

    async def run(self, query: Query[P, Result], /, *args: P.args, **kwargs: P.kwargs) -> Result:
        """
        Ask the database.

        Raises:
            StorageFailed: The database does not answer.
            Exception: Whatever *query* raises.
        """

        def ask(connection: Connection) -> Result:
            return query(connection, *args, **kwargs)

        return await self._readers.ask(ask)

    def why(self, error: MailError) -> str:
        """Say in one line, for an administrator only, what lies behind an error of ``run``."""
        return reason_of(error, self._engines.read.url)

    def glance(self, query: Callable[[SqliteConnection], Result | None]) -> Result | None:
        """
        Answer a small query at once, where the database allows it.

        Args:
            query: Reads a few rows to their end; None: there is too much for a glance.

        Returns:
            None: use ``run``.
        """
        return None if self._glances is None else self._glances.look(query)

    async def write(self, query: Query[P, Result], /, *args: P.args, **kwargs: P.kwargs) -> Result:
        """
        Change the database; returns after the commit.

        Raises:
            StorageFailed, StorageFull, TooBusy: Nothing was changed.
            Exception: Whatever *query* raises; nothing was changed.
        """
        result: Result = await self._writers[0].submit(CALLS, Call(query, args, kwargs))
        return result

    async def write_batch(
        self, query: BatchQuery[Item, Result], item: Item, *, octets: int = 0, shard: int = 0
    ) -> Result:
        """
        Change the database together with others of this kind; returns after the commit.

        Args:
            query: Writes *item* and its like in a few statements.
            item: What to write.
            octets: Its weight in the limit of a transaction.
            shard: Items that write the same rows have the same shard: one writer does them.

        Raises:
            StorageFailed, StorageFull, TooBusy: Nothing was written.
            Exception: What *query* answered for this item; nothing was written.
        """
        # Numbers made one after the other differ in few bits, and those are seldom the last.
        writer = self._writers[(shard * _SPREAD >> 32) % len(self._writers)]
        written = await writer.submit(query, item, octets)
        if self._checkpoints is not None:
            self._checkpoints.count(octets)
        return written
