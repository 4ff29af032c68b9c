"""A private PostgreSQL and a private MariaDB for one test session, and databases in them."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import ClassVar, NoReturn

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from mailsvc.store.engine import Engines, open_engines
from mailsvc.store.schema import upgrade
from mailsvc.store.tables import metadata

KINDS = ("sqlite", "postgresql", "mariadb")
SERVERS = ("postgresql", "mariadb")
_PATIENCE = 30.0
"""Seconds that a program may take."""


class DatabaseServer(ABC):
    """
    One server with its own folder; whoever can enter the folder can use it, nobody else.

    It dies with the tests, so it never waits for the disk.
    """

    name: ClassVar[str]
    users: ClassVar[tuple[str, ...]]
    """Who it may run as, the best first, when we are root: it refuses to run as root."""
    home: ClassVar[str]
    """A database that is always there."""
    socket: ClassVar[str]
    """The name of its socket in its folder."""
    last_word: ClassVar[signal.Signals]
    """Ends it without writing anything down."""
    impatient: ClassVar[dict[str, str]]
    """Driver's options that make a statement fail soon when a test left a lock behind."""

    def __init__(self) -> None:
        self.owner = _owner(self.users)
        self.folder = Path(mkdtemp(prefix=f"mailsvc-{self.name}-"))
        if self.owner is not None:
            os.chown(self.folder, self.owner.pw_uid, self.owner.pw_gid)
        self.engine = create_engine(self.url(self.home), isolation_level="AUTOCOMMIT")
        """The way in for its administrator, outside our databases."""
        self._process: subprocess.Popen[bytes] | None = None
        self._clean: tuple[str, Engine] | None = None

    @abstractmethod
    def url(self, database: str) -> str:
        """Give the URL of one of its databases."""

    @abstractmethod
    def initialise(self) -> list[str]:
        """Give the command that makes its files."""

    @abstractmethod
    def run(self) -> list[str]:
        """Give the command that runs it in the foreground."""

    def start(self) -> None:
        """Make its files and start it; returns when it answers."""
        if self._spawn(self.initialise()).wait(_PATIENCE):
            pytest.fail(f"{self.name} cannot be made:\n{self._log()}")
        self._process = self._spawn(self.run())
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            if time.monotonic() > deadline or _has_ended(self._process):
                pytest.fail(f"{self.name} does not start:\n{self._log()}")

    def stop(self) -> None:
        """End it at once and remove its folder."""
        self.engine.dispose()
        if self._clean is not None:
            self._clean[1].dispose()
        if self._process is not None:
            self._process.send_signal(self.last_word)
            self._process.wait(_PATIENCE)
        shutil.rmtree(self.folder)

    def new_database(self) -> str:
        """Make an empty database and give its URL."""
        name = f"mailsvc_{secrets.token_hex(4)}"
        with self.engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        return self.url(name)

    def clean_database(self) -> str:
        """Give the URL of a database with our schema and no row; each call empties it."""
        if self._clean is None:
            url = self.new_database()
            engines = open_engines(url, 1, 1)
            upgrade(engines)
            engines.close()
            self._clean = url, create_engine(url, connect_args=self.impatient)
        url, sweeper = self._clean
        with sweeper.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        return url

    def _answers(self) -> bool:
        try:
            # First without a driver: PyMySQL forgets to close a socket that does not answer.
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self.folder / self.socket))
            with self.engine.connect():
                return True
        except (OSError, OperationalError):
            return False

    def _spawn(self, command: list[str]) -> "subprocess.Popen[bytes]":
        owner = self.owner
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*_dying_with_us(), *command],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for pytest, which stops us in order
                user=None if owner is None else owner.pw_uid,
                group=None if owner is None else owner.pw_gid,
                extra_groups=None if owner is None else (),
            )

    def _log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")[-2000:]


class PostgreSql(DatabaseServer):
    """A private PostgreSQL."""

    name = "postgresql"
    users = ("postgres", "nobody")
    home = "postgres"
    socket = ".s.PGSQL.5432"
    last_word = signal.SIGQUIT
    impatient: ClassVar[dict[str, str]] = {"options": "-c lock_timeout=5000"}

    def url(self, database: str) -> str:
        """Name a database, the socket's folder and a superuser."""
        return f"postgresql+psycopg://mailsvc@/{database}?host={self.folder}"

    def initialise(self) -> list[str]:
        """Give the command of initdb."""
        options = "--no-sync --auth=trust --username=mailsvc --encoding=UTF8 --locale=C.UTF-8"
        return [_program(self.name, "initdb"), f"--pgdata={self.folder}/data", *options.split()]

    def run(self) -> list[str]:
        """Give the command of the server."""
        settings = {
            "unix_socket_directories": self.folder,
            "listen_addresses": "",
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "deadlock_timeout": "100ms",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [_program(self.name, "postgres"), "-D", f"{self.folder}/data", *options]


class MariaDb(DatabaseServer):
    """A private MariaDB."""

    name = "mariadb"
    users = ("mysql", "nobody")
    home = "mysql"
    socket = "socket"
    last_word = signal.SIGKILL
    impatient: ClassVar[dict[str, str]] = {"init_command": "SET innodb_lock_wait_timeout = 5"}

    def url(self, database: str) -> str:
        """Name a database, the socket and a superuser."""
        return f"mysql+pymysql://root@localhost/{database}?unix_socket={self.folder}/socket"

    def initialise(self) -> list[str]:
        """Give the command of mariadb-install-db."""
        options = "--auth-root-authentication-method=normal --skip-test-db --skip-name-resolve"
        return [
            _program(self.name, "mariadb-install-db"),
            "--no-defaults",
            f"--datadir={self.folder}/data",
            f"--tmpdir={self._scratch()}",
            *options.split(),
        ]

    def run(self) -> list[str]:
        """Give the command of the server."""
        return [
            _program(self.name, "mariadbd"),
            "--no-defaults",
            f"--datadir={self.folder}/data",
            f"--tmpdir={self._scratch()}",
            f"--socket={self.folder}/socket",
            f"--pid-file={self.folder}/pid",
            "--skip-networking",
            "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=0",
            "--innodb-buffer-pool-size=64M",
        ]

    def _scratch(self) -> Path:
        """Give a place for temporary tables: two servers that share one clash over their names."""
        scratch = self.folder / "tmp"
        if not scratch.exists():
            scratch.mkdir()
            if self.owner is not None:
                os.chown(scratch, self.owner.pw_uid, self.owner.pw_gid)
        return scratch


@pytest.fixture(scope="session")
def postgresql() -> Iterator[DatabaseServer]:
    """Run a PostgreSQL until the last test is over."""
    yield from _running(PostgreSql)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[DatabaseServer]:
    """Run a MariaDB until the last test is over."""
    yield from _running(MariaDb)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Ask for the test on every engine; parametrize it to ask for some."""
    name: str = request.param
    return name


@pytest.fixture
def empty_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a database that holds nothing at all."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    server: DatabaseServer = request.getfixturevalue(kind)
    return server.new_database()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the SQLite file that others are copied from: migrations take a while."""
    file = tmp_path_factory.mktemp("template") / "mailsvc.db"
    engines = open_engines(f"sqlite:///{file}", 1, 1)
    upgrade(engines)
    engines.close()
    return file


@pytest.fixture
def database_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a database with our schema and no row."""
    if kind == "sqlite":
        file = tmp_path / "mailsvc.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), file)
        return f"sqlite:///{file}"
    server: DatabaseServer = request.getfixturevalue(kind)
    return server.clean_database()


@pytest.fixture
def engines(database_url: str) -> Iterator[Engines]:
    """Open a database with our schema and no row, on each engine in turn."""
    opened = open_engines(database_url, 4, 2)
    yield opened
    opened.close()


def _running(make: Callable[[], DatabaseServer]) -> Iterator[DatabaseServer]:
    server = make()
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _program(server: str, name: str) -> str:
    """Find a program on the PATH or where distributions put it, the newest first."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is not None:
        return found
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*"), key=lambda path: (len(path.name), path)
    )
    for folder in reversed(versions):
        if (program := folder / "bin" / name).is_file():
            return str(program)
    return _give_up(f"{name} is not installed: nothing was tried on {server}")


def _owner(users: tuple[str, ...]) -> pwd.struct_passwd | None:
    """Choose a user when we are root; None: ourselves."""
    if os.geteuid() != 0:
        return None
    known = {one.pw_name: one for one in pwd.getpwall()}
    for user in users:
        if user in known:
            return known[user]
    return _give_up(f"a server does not run as root, and there is no user {' or '.join(users)}")


def _give_up(reason: str) -> NoReturn:
    """Skip, but never where all must run."""
    if "CI" in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


def _dying_with_us() -> list[str]:
    """Start a command with this, and it does not survive tests that are killed."""
    setpriv = shutil.which("setpriv")
    return [] if setpriv is None else [setpriv, "--pdeathsig", "KILL"]


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Wait a moment for the end."""
    try:
        process.wait(0.02)
    except subprocess.TimeoutExpired:
        return False
    return True
