"""The logs of the running daemon, through mailctl."""

import json
import signal
import subprocess

from tests.support.daemon import Daemon, program, wait_until


def _send(daemon: Daemon, recipient: str) -> None:
    with daemon.smtp() as client:
        client.ehlo()
        client.mail("x@example.com")
        client.rcpt(recipient)


def _lines(daemon: Daemon, *options: str) -> list[str]:
    return daemon.mailctl("log", *options).output.splitlines()


def test_lines_are_shown_searched_and_cleared(daemon: Daemon) -> None:
    """While the daemon writes; who has cleared them is known."""
    _send(daemon, "nobody@test.com")
    daemon.pop3("alice").quit()

    assert any("nobody@test.com" in one for one in _lines(daemon, "show", "smtp"))
    [found] = _lines(daemon, "search", "pop3", "--account", "alice", "--text", "ended", "--json")
    assert json.loads(found)["user"].startswith("alice")
    assert _lines(daemon, "search", "smtp", "--text", "nobody@test.com", "--until", "1h") == []

    assert daemon.mailctl("log", "clear", "smtp", "--yes").status == 0

    assert _lines(daemon, "show", "smtp") == []
    _send(daemon, "nobody2@test.com")
    assert any("nobody2@test.com" in one for one in _lines(daemon, "show", "smtp"))
    assert any("log clear" in one for one in _lines(daemon, "show", "control"))


def test_lines_are_followed_until_ctrl_c(daemon: Daemon) -> None:
    """Only those that are new."""
    _send(daemon, "before@test.com")
    command = [*program("mailctl"), "-c", str(daemon.config), "log", "follow", "smtp"]
    out = daemon.folder / "followed"
    with out.open("wb") as file, subprocess.Popen(command, stdout=file) as following:

        def is_told() -> bool:
            _send(daemon, "after@test.com")
            return b"after@test.com" in out.read_bytes()

        try:
            wait_until(is_told, "a new line")
            following.send_signal(signal.SIGINT)
            assert following.wait(20) == 0
        finally:
            following.kill()
    assert b"before@test.com" not in out.read_bytes()
