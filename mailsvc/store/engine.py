"""Open the database: one engine to read, one to write, with each dialect's settings."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import QueuePool

from mailsvc.errors import ConfigError, StartError
from mailsvc.store.driver import driver_of, translated

_PRAGMAS = (
    "PRAGMA synchronous = FULL",  # 250 means that a power cut loses nothing
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 10000",
    "PRAGMA temp_store = MEMORY",
)
# The first three write to the file, which a reader must not need: on a full disk users still
# read their mail. The writer is there first.
_WRITER_PRAGMAS = (
    "PRAGMA page_size = 16384",  # for a new file only; bodies need fewer pages
    "PRAGMA auto_vacuum = INCREMENTAL",  # for a new file only; see removal.shrink_file
    "PRAGMA journal_mode = WAL",
    # Some builds overwrite what is removed: a purge would fill the log with zeros, and the
    # disk when it is short. FAST overwrites where it costs nothing.
    "PRAGMA secure_delete = FAST",
    "PRAGMA cache_size = -32768",  # KiB
    # Checkpoints are made beside the writer (see checkpoints.py), so that no 250 waits for
    # them. Under a load without pause these never catch up: then the writer makes one itself,
    # of what is left, and the log begins anew. In pages: 32 MiB.
    "PRAGMA wal_autocheckpoint = 2000",
    "PRAGMA journal_size_limit = 41943040",  # octets the WAL may keep: one such round
)
_BEGIN = "BEGIN IMMEDIATE"
_READER_PRAGMAS = ("PRAGMA cache_size = -8192", "PRAGMA query_only = ON")

# Seconds, but for one in milliseconds. A server that vanishes without a word must not hold
# our threads for the quarter of an hour that TCP takes to give it up.
_POSTGRESQL_PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
_MYSQL_PATIENCE = {"connect_timeout": 10, "read_timeout": 90, "write_timeout": 30}
_PATIENCE = {
    "postgresql": _POSTGRESQL_PATIENCE,
    "mysql": _MYSQL_PATIENCE,
    "mariadb": _MYSQL_PATIENCE,
}


@dataclass(frozen=True)
class Engines:
    """
    The two ways into one database.

    Args:
        read: Changes nothing; each statement sees one moment.
        write: Its transactions hold SQLite's write lock from their first moment.
        sqlite: One process, one writer, made and upgraded by the service itself.
    """

    read: Engine
    write: Engine
    sqlite: bool

    def close(self) -> None:
        """Close every idle connection."""
        self.read.dispose()
        self.write.dispose()


def parse_url(text: str) -> URL:
    """
    Read a database URL.

    Raises:
        ConfigError: It is none, or of an engine that we do not know.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigError(
            "database.url: this is no URL; it looks like postgresql+psycopg://user:password@host/db"
        ) from None
    if url.get_backend_name() not in {"sqlite", "postgresql", "mysql", "mariadb"}:
        raise ConfigError(
            f"database.url: {url.get_backend_name()!r} is not possible: "
            "use sqlite, postgresql+psycopg or mysql+pymysql"
        )
    if url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}:
        raise ConfigError("database.url: an SQLite database needs a file: sqlite:////path/to/file")
    return url


def sqlite_file(text: str) -> Path | None:
    """Give the file of an SQLite database; None for a server's. Same errors as ``parse_url``."""
    url = parse_url(text)
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def open_engines(text: str, readers: int, writers: int) -> Engines:
    """
    Make the engines; connections are made when they are first used.

    Args:
        text: The database URL.
        readers: Most connections that read at the same time.
        writers: Most connections that write at the same time; SQLite has one.

    Raises:
        ConfigError: The URL cannot be used.
        StartError: The driver of this database is not installed.
    """
    url = parse_url(text)
    try:
        if url.get_backend_name() == "sqlite":
            # Two more than readers: the connections for checkpoints and for glances.
            return Engines(
                _sqlite(url, readers + 2, writes=False), _sqlite(url, 1, writes=True), True
            )
        return Engines(
            _server(url, readers, "AUTOCOMMIT"), _server(url, writers, "READ COMMITTED"), False
        )
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        extra = "postgresql" if url.get_backend_name() == "postgresql" else "mariadb"
        raise StartError(
            f"database.url: the driver is missing ({error}); run: pip install 'mailsvc[{extra}]'"
        ) from None


def _sqlite(url: URL, size: int, *, writes: bool) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        connect_args={"check_same_thread": False, "timeout": 10.0},
    )
    pragmas = (_WRITER_PRAGMAS if writes else _READER_PRAGMAS) + _PRAGMAS

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        # The module's own transactions begin too late, so we begin them ourselves.
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(pragma)

    if writes:

        @event.listens_for(engine, "begin")
        def start(connection: Connection) -> None:
            driver = driver_of(connection)
            assert driver is not None  # noqa: S101 - the engine is SQLite's
            with translated(_BEGIN):
                driver.execute(_BEGIN)

    return engine


def _server(url: URL, size: int, isolation_level: str) -> Engine:
    return create_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_pre_ping=True,
        isolation_level=isolation_level,
        connect_args=_PATIENCE[url.get_backend_name()],
    )
