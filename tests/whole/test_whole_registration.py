"""People who are no administrators make accounts and change passwords, and may do no more."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from poplib import error_proto
from smtplib import SMTPAuthenticationError
from tempfile import TemporaryDirectory

import pytest
from twisted.protocols.amp import AmpBox, parseString

from mailsvc.control.commands.base import VERSION
from tests.support.daemon import Daemon, MakeDaemon, require, wait_until

GOOD = "seven green llamas"
NOBODY = 65534


def _logs_in(daemon: Daemon, user: str, password: str) -> bool:
    daemon.passwords[user] = password
    try:
        daemon.pop3(user).quit()
    except error_proto:
        return False
    return True


def test_a_user_registers_waits_and_is_let_in(daemon: Daemon) -> None:
    """By POP3 and by submission; before that, by neither."""
    assert daemon.mailctl("settings", "set", "registration.mode", "approval").status == 0
    made = daemon.mailctl("register", "dora", "--password-stdin", given=GOOD)
    assert made.status == 0, made.errors
    assert not _logs_in(daemon, "dora", GOOD)
    with pytest.raises(SMTPAuthenticationError):
        daemon.submission("dora")

    assert daemon.mailctl("user", "approve", "dora").status == 0

    wait_until(lambda: _logs_in(daemon, "dora", GOOD), "the login of dora")
    daemon.submission("dora").quit()


def test_a_changed_password_ends_open_sessions(daemon: Daemon) -> None:
    """The new one is good at once, the old one is not."""
    given = f"{daemon.passwords['alice']}\n{GOOD}\n"
    with closing(daemon.pop3("alice")) as session:
        assert daemon.mailctl("passwd", "alice", "--password-stdin", given=given).status == 0

        def is_over() -> bool:
            try:
                return not session.noop().startswith(b"+OK")
            except (error_proto, OSError):
                return True

        wait_until(is_over, "the session to end")
    assert not _logs_in(daemon, "alice", given.split("\n", maxsplit=1)[0])
    assert _logs_in(daemon, "alice", GOOD)


@contextmanager
def _stranger(path: Path) -> Iterator[socket.socket]:
    """Connect as a user who is neither root nor the daemon's."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(30)
        os.seteuid(NOBODY)
        try:
            line.connect(str(path))
        finally:
            os.seteuid(0)
        yield line


def _ask(line: socket.socket, tag: int, command: bytes, **values: bytes) -> AmpBox | None:
    box = AmpBox({b"_command": command, b"_ask": b"%d" % tag})
    box.update({name.encode(): value for name, value in values.items()})
    line.sendall(box.serialize())
    answer = b""
    while not answer.endswith(b"\0\0"):
        piece = line.recv(65536)
        if not piece:
            return None
        answer += piece
    found: list[AmpBox] = parseString(answer)
    return found[0]


def test_other_users_of_the_machine_get_to_the_socket(make_daemon: MakeDaemon) -> None:
    """When they shall; they register and change their own password there, and nothing else."""
    require(os.geteuid() == 0, "only root can become somebody else")
    with TemporaryDirectory(prefix="mailsvc-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "control.sock"
        settings = {
            "control": {"socket": str(path), "access": "everybody"},
            "registration": {"mode": "open"},
        }
        daemon = make_daemon(settings=settings)
        daemon.start()
        with _stranger(path) as line:
            hello = _ask(line, 1, b"Hello", version=b"%d" % VERSION)
            assert hello is not None
            made = _ask(line, 2, b"Register", address=b"dora", password=GOOD.encode())
            assert made is not None
            assert made[b"address"] == b"dora@test.com"
            refused = _ask(line, 3, b"UserList")
            assert refused is None or refused[b"_error_code"] == b"FORBIDDEN"
        assert _logs_in(daemon, "dora", GOOD)
        trail = daemon.mailctl("trail", "search", "--json").output
        assert f"uid {NOBODY}" in trail


def test_the_socket_is_the_owners_alone(daemon: Daemon) -> None:
    """As long as nobody has said otherwise."""
    require(os.geteuid() == 0, "only root can become somebody else")
    with pytest.raises(PermissionError), _stranger(daemon.state / "control.sock"):
        pass
