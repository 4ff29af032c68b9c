"""The control socket of the daemon, for real: kernel, file system, threads and mailctl."""

import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailsvc.admin.administration import open_administration
from mailsvc.auth.checkers import AccountChecker
from mailsvc.auth.guard import LoginGuard
from mailsvc.auth.passwords import Passwords
from mailsvc.auth.prover import Prover
from mailsvc.config.settings import DatabaseSettings, LoginSettings, Settings
from mailsvc.control.client import ControlError, connect
from mailsvc.control.server import MOST_CONNECTIONS, ControlService
from mailsvc.errors import NotReachable, StartError
from mailsvc.service.live import LiveSettings
from mailsvc.service.rules import Rules
from mailsvc.store.database import Database
from mailsvc.store.directory import Directory
from mailsvc.store.engine import open_engines
from tests.support.control_office import Office, PaperLogs, PaperSwitchboard, listener, open_office
from tests.support.control_reactor import MAILCTL, run_for_real, run_mailctl


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Open an office for one test."""
    with open_office(tmp_path) as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the socket shall be."""
    return tmp_path / "control.sock"


def _leave_stale(path: Path) -> None:
    """Leave a socket behind as a killed daemon does."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _live(database: Database, reactor: Any, switchboard: PaperSwitchboard) -> LiveSettings:
    live = LiveSettings(database, reactor, Settings())
    live.floor = switchboard
    return live


class TestWhole:
    """mailctl, socket, threads, database: nothing is pretended."""

    def test_mailctl_commands_the_running_daemon(self, office: Office, path: Path) -> None:
        """A user is made and seen, a service stopped, a mistake told."""
        file = office.engines.write.url.database
        switchboard = PaperSwitchboard(listener("pop3", "pop3", "pop3", 2110))

        async def use(reactor: Any) -> list["subprocess.CompletedProcess[str]"]:
            settings = DatabaseSettings(readers=2)
            engines = open_engines(f"sqlite:///{file}", settings.readers, 1)
            database = Database(engines, settings, reactor, office.ids)
            passwords = Passwords(reactor, reactor, LoginSettings())
            directory = Directory(database, reactor)
            guard = LoginGuard(reactor.seconds, LoginSettings())
            administration = open_administration(
                database=database,
                directory=directory,
                passwords=passwords,
                prover=Prover(AccountChecker(directory, passwords, guard), directory),
                switchboard=switchboard,
                logbook=PaperLogs(),
                live=_live(database, reactor, switchboard),
                clock=reactor,
                hostname="mail.test.com",
                version="1.2.3",
                most_octets=100_000,
                renew_rules=Rules(database, reactor).renew,
                wake_broadcasts=lambda: None,
                send_now=lambda _: None,
            )
            service = ControlService(administration, path, reactor)
            database.start()
            passwords.start()
            service.startService()
            try:
                place = f"--socket={path}"
                return [
                    await run_mailctl(
                        reactor,
                        place,
                        "user",
                        "add",
                        "bob",
                        "--password-stdin",
                        stdin="my secret\n",
                    ),
                    await run_mailctl(reactor, place, "user", "list", "--json"),
                    await run_mailctl(reactor, place, "service", "stop", "pop3"),
                    await run_mailctl(reactor, place, "user", "delete", "nobody", "--yes"),
                ]
            finally:
                await service.stopService()
                passwords.stop()
                database.stop()
                engines.close()

        made, listed, stopped, failed = run_for_real(use)

        assert (made.returncode, made.stdout) == (0, "Made the account bob@test.com.\n")
        assert [one["address"] for one in json.loads(listed.stdout)] == [
            "admin@test.com",
            "bob@test.com",
        ]
        assert stopped.returncode == 0
        assert not switchboard.running("pop3")
        assert failed.returncode == 1
        assert failed.stderr == "mailctl: there is no account nobody@test.com\n"

    def test_without_a_daemon_mailctl_says_how_to_start_it(self, path: Path) -> None:
        """Exit status 3: a script can tell it from a refusal."""

        async def use(reactor: Any) -> "subprocess.CompletedProcess[str]":
            return await run_mailctl(reactor, f"--socket={path}", "status")

        failed = run_for_real(use)

        assert failed.returncode == 3
        assert failed.stderr == (
            f"mailctl: mailsvc is not running (no socket at {path}): "
            "start it with: twistd mailsvc -c config.yaml\n"
        )

    def test_ctrl_c_ends_the_wait_for_a_silent_daemon(self, path: Path) -> None:
        """At once, and without a word about the daemon."""
        with socket.socket(socket.AF_UNIX) as silent:
            silent.settimeout(20)
            silent.bind(os.fspath(path))
            silent.listen()
            with subprocess.Popen(
                [*MAILCTL, f"--socket={path}", "status"], stderr=subprocess.PIPE, text=True
            ) as waiting:
                connection, _ = silent.accept()
                assert connection.recv(1)
                waiting.send_signal(signal.SIGINT)
                told = waiting.communicate(timeout=20)[1]
                connection.close()

        assert (waiting.returncode, told.strip()) == (1, "Aborted!")


class TestSocket:
    """The file of the socket."""

    def _use(self, office: Office, path: Path, work: Any = None) -> Any:
        async def use(reactor: Any) -> Any:
            service = ControlService(office.administration, path, reactor)
            service.startService()
            try:
                return await work(reactor) if work is not None else _mode(path)
            finally:
                await service.stopService()

        return run_for_real(use)

    def test_only_its_owner_gets_at_it(self, office: Office, path: Path) -> None:
        """Mode 600, whatever the umask."""
        before = os.umask(0)
        try:
            found = self._use(office, path)
        finally:
            os.umask(before)

        assert found == 0o600

    def test_the_umask_stays_as_it_was(self, office: Office, path: Path) -> None:
        """Other files are none of our business."""
        before = os.umask(0o027)
        try:
            self._use(office, path)
            assert os.umask(0o027) == 0o027
        finally:
            os.umask(before)

    def test_it_goes_when_the_daemon_stops(self, office: Office, path: Path) -> None:
        """The next mailctl hears that the daemon is not running."""
        self._use(office, path)

        assert not path.exists()

    def test_the_socket_of_a_killed_daemon_is_replaced(self, office: Office, path: Path) -> None:
        """Nobody has to clean up by hand."""
        _leave_stale(path)

        async def look(reactor: Any) -> int | None:
            client = await connect(reactor, path)
            seen = await client.services.status()
            client.close()
            return seen.accounts

        assert self._use(office, path, look) == 1

    def test_the_socket_of_a_living_daemon_stays(self, office: Office, path: Path) -> None:
        """Two daemons on one socket would take each other's commands."""

        async def start_another(reactor: Any) -> None:
            second = ControlService(office.administration, path, reactor)
            with pytest.raises(StartError, match="another mailsvc answers"):
                second.startService()
            (await connect(reactor, path)).close()

        self._use(office, path, start_another)

    def test_what_is_no_socket_stays(self, office: Office, path: Path) -> None:
        """A wrong path in config.yaml must not cost a file."""
        path.write_text("precious")

        with pytest.raises(StartError, match="this is no socket"):
            self._use(office, path)

        assert path.read_text() == "precious"

    @pytest.mark.parametrize("name", ["x" * 150, "no/such/folder"])
    def test_a_path_that_cannot_be_used_is_told(
        self, office: Office, tmp_path: Path, name: str
    ) -> None:
        """The kernel takes about 100 octets; a folder must be there."""
        with pytest.raises(StartError, match=r"set control\.socket in config\.yaml"):
            self._use(office, tmp_path / name)

    def test_a_stale_socket_is_no_daemon(self, path: Path) -> None:
        """And the text says so."""
        _leave_stale(path)

        with pytest.raises(NotReachable, match="nobody answers at"):
            run_for_real(lambda reactor: connect(reactor, path))

    def test_too_many_connections_are_refused(self, office: Office, path: Path) -> None:
        """And those that are open go on."""

        async def crowd(reactor: Any) -> int | None:
            clients = [await connect(reactor, path) for _ in range(MOST_CONNECTIONS)]
            with pytest.raises(ControlError, match="closed the connection"):
                await connect(reactor, path)
            seen = await clients[0].services.status()
            for client in clients:
                client.close()
            return seen.accounts

        assert self._use(office, path, crowd) == 1

    def test_a_socket_that_somebody_removed_does_not_stop_the_stop(
        self, office: Office, path: Path
    ) -> None:
        """It is gone already, and that is what was wanted."""

        async def remove(_reactor: Any) -> None:
            os.unlink(path)  # noqa: PTH108 - ruff takes Path's for slow

        self._use(office, path, remove)

        assert not path.exists()

    def test_a_command_under_way_is_answered_before_the_stop(
        self, office: Office, path: Path
    ) -> None:
        """Who has asked hears what became of it."""
        office.database.waits = waits = Deferred[None]()

        async def stop(reactor: Any) -> tuple[int, bool]:
            service = ControlService(office.administration, path, reactor)
            service.startService()
            client = await connect(reactor, path)
            asked = Deferred.fromCoroutine(client.users.list())
            await _wait(reactor, 0.05)
            stopped = service.stopService()
            early = stopped.called
            waits.callback(None)
            page = await asked
            await stopped
            return len(page.rows), early

        assert run_for_real(stop) == (1, False)


def _wait(reactor: Any, seconds: float) -> Coroutine[Any, Any, None]:
    async def wait() -> None:
        passed: Deferred[None] = Deferred()
        reactor.callLater(seconds, passed.callback, None)
        await passed

    return wait()
