"""An administration over a real SQLite file that answers at once, on the test's thread."""

import atexit
import shutil
from collections.abc import Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from mailsvc.admin.administration import open_administration
from mailsvc.auth.checkers import AccountChecker
from mailsvc.auth.guard import LoginGuard
from mailsvc.auth.prover import Prover
from mailsvc.config.settings import DatabaseSettings, LoginSettings, Settings
from mailsvc.config.units import Rate
from mailsvc.errors import CommandError
from mailsvc.interfaces import ILogBook, ISwitchboard
from mailsvc.model.account import Role
from mailsvc.model.address import parse_address
from mailsvc.model.ids import IdSource
from mailsvc.model.listener import ListenerState
from mailsvc.model.log import LogFilter, LogPart
from mailsvc.model.session import Ending, SessionState
from mailsvc.model.switch import Switch
from mailsvc.service.live import LiveSettings
from mailsvc.service.rules import Rules
from mailsvc.store.accounts import (
    NewAccount,
    populate,
)
from mailsvc.store.broadcasts import BroadcastStep, unfinished
from mailsvc.store.database import Database, Query
from mailsvc.store.directory import Directory
from mailsvc.store.engine import Engines, open_engines
from mailsvc.store.schema import prepare, transact
from tests.support.plain_passwords import PlainPasswords

P = ParamSpec("P")
Result = TypeVar("Result")


def finish(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine that has nothing to wait for."""
    outcome: list[Result | Failure] = []
    _ = Deferred.fromCoroutine(work).addBoth(outcome.append)
    assert outcome, "it still waits"
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]


class NoThreads(Clock):
    """A reactor for parts whose threads never run."""

    def callFromThread(self, *_call: object) -> None:
        """Say that a thread runs after all."""
        raise AssertionError("a thread runs")


class PromptDatabase(Database):
    """The real queries in real transactions, without threads."""

    def __init__(self, engines: Engines, ids: IdSource) -> None:
        reactor: Any = NoThreads()
        super().__init__(engines, DatabaseSettings(), reactor, ids)
        self.broken: Exception | None = None
        self.waits: Deferred[None] | None = None

    async def run(self, query: Query[P, Result], /, *args: P.args, **kwargs: P.kwargs) -> Result:
        """Ask; fails when it shall, and waits when it shall."""
        if self.waits is not None:
            await self.waits
        if self.broken is not None:
            raise self.broken
        with self._engines.read.begin() as connection:
            return query(connection, *args, **kwargs)

    async def write(self, query: Query[P, Result], /, *args: P.args, **kwargs: P.kwargs) -> Result:
        """Change; fails when it shall."""
        if self.broken is not None:
            raise self.broken
        with self._engines.write.begin() as connection:
            return query(connection, *args, **kwargs)


@implementer(ISwitchboard)
class PaperSwitchboard:
    """Listeners that exist on paper only; ``broken`` is why they cannot be opened."""

    def __init__(self, *listeners: ListenerState) -> None:
        self._listeners = list(listeners)
        self.broken: str | None = None
        self.open_sessions: list[SessionState] = []

    def sessions(self) -> Sequence[SessionState]:
        """Tell what is on the paper."""
        return self.open_sessions

    def end(self, numbers: Sequence[int], why: Ending) -> None:
        """Strike some out."""
        assert why is Ending.KILLED
        self.open_sessions = [one for one in self.open_sessions if one.number not in numbers]

    async def switch(self, switches: Mapping[str, Switch]) -> None:
        """Open and close some."""
        if self.broken is not None and any(one.running for one in switches.values()):
            raise CommandError(self.broken)
        self._listeners = [
            replace(one, running=switches[one.name].running, until=switches[one.name].until)
            if one.name in switches
            else one
            for one in self._listeners
        ]

    def listeners(self) -> Sequence[ListenerState]:
        """Tell their state."""
        return self._listeners

    def running(self, service: str) -> bool:
        """Tell whether all listeners of a service are open."""
        return all(one.running for one in self._listeners if one.service == service)


@implementer(ILogBook)
class PaperLogs:
    """Logs that hold what a test says, by name; one part has two lines."""

    def __init__(self) -> None:
        self.logs: dict[str, list[str]] = {}
        self.asked: list[LogFilter] = []

    async def read(self, name: str, after: str, only: LogFilter) -> LogPart:
        """Give the next two lines."""
        self.asked.append(only)
        place, lines = int(after or 0), self.logs.get(name, [])
        some = lines[place : place + 2]
        return LogPart(tuple(some), str(place + len(some)), end=place + 2 >= len(lines))

    def clear(self, name: str) -> None:
        """Forget them."""
        self.logs[name] = []


def listener(name: str, kind: str, service: str, port: int) -> ListenerState:
    """Make an open listener."""
    return ListenerState(name, kind, service, "127.0.0.1", port, running=True, sessions=0)


class Office:
    """An administration with all it works with: test.com, whose administrator is admin."""

    def __init__(self, engines: Engines) -> None:
        self.engines = engines
        self.clock = Clock()
        self.ids = IdSource()
        self.database = PromptDatabase(engines, self.ids)
        self.directory = Directory(self.database, self.clock)
        self.rules = Rules(self.database, self.clock)
        self.rules.startService()
        self.logs = PaperLogs()
        self.switchboard = PaperSwitchboard(
            listener("mx", "smtp", "smtp", 2525),
            listener("submission", "submission", "smtp", 2587),
            listener("pop3", "pop3", "pop3", 2110),
        )
        self.sent_now: list[Collection[str]] = []
        """The domains of each wish to send at once."""
        self.live = LiveSettings(self.database, self.clock, Settings())
        self.live.floor = self.switchboard
        passwords: Any = PlainPasswords()
        guard = LoginGuard(self.clock.seconds, LoginSettings(failures_per_account=Rate(5, 60.0)))
        checker = AccountChecker(self.directory, passwords, guard)
        self.administration = open_administration(
            database=self.database,
            directory=self.directory,
            passwords=passwords,
            prover=Prover(checker, self.directory),
            switchboard=self.switchboard,
            logbook=self.logs,
            live=self.live,
            clock=self.clock,
            hostname="mail.test.com",
            version="1.2.3",
            most_octets=100_000,
            renew_rules=self.rules.renew,
            wake_broadcasts=self.deliver_broadcasts,
            send_now=self.sent_now.append,
        )

    def deliver_broadcasts(self) -> None:
        """Deliver what there is, at once."""
        step = BroadcastStep(self.ids)
        for number in finish(self.database.run(unfinished)):
            while finish(self.database.write(step, number)):
                pass


@contextmanager
def open_office(folder: Path) -> Iterator[Office]:
    """Open one with a database of its own in *folder*."""
    file = folder / "mailsvc.db"
    shutil.copy(_template(), file)
    engines = open_engines(f"sqlite:///{file}", 2, 1)
    try:
        yield Office(engines)
    finally:
        engines.close()


@cache
def _template() -> Path:
    """Make the database that others are copied from: migrations take a while."""
    folder = Path(mkdtemp(prefix="mailsvc-test-"))
    atexit.register(shutil.rmtree, folder)
    file = folder / "template.db"
    engines = open_engines(f"sqlite:///{file}", 1, 1)
    prepare(engines)
    admin = NewAccount(
        address=parse_address("admin@test.com"), hashed="plain:admin's own", role=Role.ADMIN
    )
    transact(engines, populate, IdSource(), "test.com", [admin])
    engines.close()
    return file
