"""mailctl commands a daemon on another machine, by TLS and with a login."""

import socket
import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.certificates import make_certificate
from tests.support.daemon import Daemon, Ended, MakeDaemon, free_ports, program, run

HERE = "127.0.0.1"


class Remote:
    """A daemon with a port for other machines."""

    def __init__(self, make_daemon: MakeDaemon, folder: Path, **more: object) -> None:
        [self.port] = free_ports(1)
        self.files = make_certificate(folder, "localhost")
        named = {"certificate": str(self.files.certificate), "key": str(self.files.key)}
        control = {"remote": {"address": HERE, "port": self.port}}
        settings = {"control": control, "tls": {"certificates": [named]}, **more}
        self.daemon: Daemon = make_daemon(settings=settings).start()

    def mailctl(self, *arguments: str, host: str = "localhost", password: str = "") -> Ended:
        """Run it as on another machine: without the daemon's configuration."""
        given = password or self.daemon.passwords["admin"]
        return run(
            [*program("mailctl"), "--host", f"{host}:{self.port}", *arguments],
            environment={"MAILCTL_PASSWORD": given},
        )

    @property
    def trusted(self) -> tuple[str, str]:
        """Give the options that trust its certificate."""
        return "--ca", str(self.files.certificate)


@pytest.fixture
def remote(make_daemon: MakeDaemon, tmp_path: Path) -> Remote:
    """Start one."""
    return Remote(make_daemon, tmp_path)


def test_an_administrator_works_from_another_machine(remote: Remote) -> None:
    """Trusting an authority, or a fingerprint; with the password in the environment or a file."""
    made = remote.mailctl(*remote.trusted, "--login", "admin", "user", "add", "bob2", "--generate")
    assert made.status == 0, made.errors
    status = remote.daemon.mailctl("status", "--json").parsed
    fingerprint = status["remote"]["fingerprint"]
    assert status["remote"]["place"] == f"{HERE} port {remote.port}"
    assert fingerprint in remote.daemon.mailctl("status").output
    secret = remote.daemon.folder / "secret"
    secret.write_text(remote.daemon.passwords["admin"] + "\n")
    listed = remote.mailctl(
        "--fingerprint",
        fingerprint,
        "--login=admin@test.com",
        f"--password-file={secret}",
        "user",
        "list",
        password="wrong",
    )
    assert listed.status == 0, listed.errors
    assert "bob2@test.com" in listed.output
    trail = remote.daemon.mailctl("trail", "search", "--json").output
    assert f"admin@test.com at {HERE}" in trail


def test_a_certificate_that_is_not_trusted_is_told(remote: Remote) -> None:
    """And the password is not sent; nor to another name, nor to what is no mailsvc."""
    for options in ((), ("--fingerprint", "ab" * 32)):
        refused = remote.mailctl(*options, "--login", "admin", "status")
        assert refused.status == 3
        assert "certificate is not trusted" in refused.errors
    named = remote.mailctl(*remote.trusted, "--login", "admin", "status", host=HERE)
    assert (named.status, "not trusted" in named.errors) == (3, True)
    remote.port = remote.daemon.ports["pop3"]
    other = remote.mailctl(*remote.trusted, "--login", "admin", "status")
    assert (other.status, "is no mailsvc" in other.errors) == (3, True)
    log = remote.daemon.mailctl("log", "show", "control").output
    assert "login" not in log


def test_strangers_get_nowhere(remote: Remote) -> None:
    """Without a login, with a wrong one, as a user, by a rule, and without TLS."""
    trusted = remote.trusted
    nobody = remote.mailctl(*trusted, "user", "list")
    assert (nobody.status, "log in first" in nobody.errors) == (1, True)
    wrong = remote.mailctl(*trusted, "--login", "admin", "user", "list", password="x")
    assert (wrong.status, "password is wrong" in wrong.errors) == (1, True)
    alice = remote.daemon.passwords["alice"]
    user = remote.mailctl(*trusted, "--login", "alice", "user", "list", password=alice)
    assert (user.status, "is no administrator" in user.errors) == (1, True)
    with socket.create_connection((HERE, remote.port), timeout=10) as plain:
        plain.sendall(b"\0\x08_command\0\x05Hello" * 20)
        with suppress(ConnectionResetError):
            assert not plain.recv(10).startswith(b"\0")
    assert remote.daemon.mailctl("filter", "add", "deny", HERE, "--service", "web").status == 0
    with pytest.raises((ConnectionError, ssl.SSLError)):
        ssl._create_unverified_context().wrap_socket(  # noqa: S323, SLF001 - refused before it
            socket.create_connection((HERE, remote.port), timeout=10)
        )


def test_users_change_their_password_from_anywhere(remote: Remote) -> None:
    """Without a login, but with the old one."""
    given = f"{remote.daemon.passwords['alice']}\nseven green llamas\n"
    done = run(
        [
            *program("mailctl"),
            f"--host=localhost:{remote.port}",
            *remote.trusted,
            "passwd",
            "alice",
            "--password-stdin",
        ],
        given=given,
    )
    assert done.status == 0, done.errors
    remote.daemon.passwords["alice"] = "seven green llamas"
    remote.daemon.pop3("alice").quit()


def test_a_port_that_is_taken_stops_the_start(make_daemon: MakeDaemon) -> None:
    """With a line that names it."""
    with socket.create_server((HERE, 0)) as other:
        port = other.getsockname()[1]
        daemon = make_daemon(settings={"control": {"remote": {"port": port}}})
        ended = daemon.try_to_start()
    assert ended.status != 0
    assert "change control.remote in config.yaml" in ended.errors
    assert "Traceback" not in ended.errors + ended.output
