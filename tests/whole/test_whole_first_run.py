"""The first start on an empty folder, and the second one."""

import re
import stat
from pathlib import Path

from tests.support.daemon import Daemon, MakeDaemon, installed, require, run


def mode_of(path: Path) -> int:
    """Give the permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def commands(output: str) -> dict[str, str]:
    """Read the commands that the first start suggests, each as it is printed."""
    blocks = re.findall(r"(?:^    .*\n)+", output, re.MULTILINE)
    scheme = {"smtp://": "send", "pop3://": "collect"}
    return {name: block for mark, name in scheme.items() for block in blocks if mark in block}


def test_first_start_makes_everything(daemon: Daemon) -> None:
    """One command on an empty folder gives a running service with three accounts."""
    listed = daemon.mailctl("user", "list", "--json").parsed

    assert {one["address"]: one["role"] for one in listed} == {
        "admin@test.com": "admin",
        "alice@test.com": "user",
        "bob@test.com": "user",
    }
    assert daemon.passwords.keys() == {"admin", "alice", "bob"}


def test_only_the_owner_can_read_the_state(daemon: Daemon) -> None:
    """No other user of the machine reads mail, logs or the control socket."""
    files = [daemon.database, *daemon.state.glob("log/*")]

    assert mode_of(daemon.state) == 0o700
    assert {mode_of(file) for file in files} == {0o600}
    assert mode_of(daemon.state / "control.sock") == 0o600


def test_each_password_opens_its_maildrop(daemon: Daemon) -> None:
    """The printed passwords are those of the accounts."""
    for user in daemon.passwords:
        client = daemon.pop3(user)
        assert client.stat() == (0, 0)
        client.quit()


def test_passwords_are_shown_once(daemon: Daemon) -> None:
    """The second start says nothing of them, and the old ones still work."""
    daemon.stop()
    daemon.start()

    said = daemon.output + daemon.errors
    assert "Their passwords" not in said
    assert not any(secret in said for secret in daemon.passwords.values())
    daemon.pop3("alice").quit()


def test_passwords_are_written_nowhere(daemon: Daemon) -> None:
    """Neither the logs nor the database hold a password that somebody could read."""
    daemon.pop3("alice").quit()
    daemon.submission("bob").quit()
    daemon.stop()

    for file in (file for file in daemon.state.rglob("*") if file.is_file()):
        octets = file.read_bytes()
        assert not any(secret.encode() in octets for secret in daemon.passwords.values()), file


def test_the_printed_commands_work(daemon: Daemon) -> None:
    """What the first start suggests to try works as it is printed."""
    installed("curl")
    printed = commands(daemon.output)

    sent = run(["sh", "-c", printed["send"]], folder=daemon.folder)
    assert (sent.status, sent.errors) == (0, "")

    collected = run(["sh", "-c", printed["collect"]], folder=daemon.folder)
    assert (collected.status, collected.errors) == (0, "")
    assert collected.output.endswith("Subject: Hello\n\nIt works.\n")


def test_passwords_survive_a_first_start_that_fails(make_daemon: MakeDaemon) -> None:
    """A first start that fails at the last moment has made no account with a lost password."""
    daemon = make_daemon()
    daemon.state.mkdir()
    (daemon.state / "control.sock").write_text("no socket")

    assert daemon.try_to_start().status == 1
    (daemon.state / "control.sock").unlink()

    daemon.start().pop3("alice").quit()


def test_in_the_background_passwords_go_to_a_private_file(make_daemon: MakeDaemon) -> None:
    """A daemon without a terminal leaves them where only its owner can read."""
    daemon = make_daemon()
    require(Path("/proc/self").exists(), "this system has no /proc to see the daemon end")

    ended = daemon.start_in_background()
    try:
        assert (ended.status, ended.output, ended.errors) == (0, "", "")
        file = daemon.state / "first-passwords.txt"
        assert mode_of(file) == 0o600
        assert "admin@test.com" in file.read_text()
    finally:
        daemon.stop_in_background()
