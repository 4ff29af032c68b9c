"""mailctl against the running daemon."""

import json
import re
import sys
from contextlib import closing
from pathlib import Path
from poplib import error_proto

import pytest

from tests.support.daemon import Daemon, MakeDaemon, run
from tests.support.load import Line


def send(daemon: Daemon, recipient: str) -> None:
    """Send a small message as another mail server."""
    with daemon.smtp() as client:
        client.sendmail("x@example.com", [recipient], b"Subject: one\r\n\r\ntext\r\n")


def test_status_tells_how_the_service_is(daemon: Daemon) -> None:
    """Administrators see process, database and listeners at a glance."""
    told = daemon.mailctl("status", "--json").parsed

    assert told["pid"] == daemon.pid
    assert told["hostname"] == "mail.test.com"
    assert (told["database"]["accounts"], told["database"]["fault"]) == (3, None)
    listeners = {one["name"]: (one["port"], one["running"]) for one in told["listeners"]}
    assert listeners == {name: (port, True) for name, port in daemon.ports.items()}
    assert str(daemon.pid) in daemon.mailctl("status").output


def test_every_command_says_json(daemon: Daemon) -> None:
    """Programs need not read sentences."""
    for command in (
        ["status"],
        ["user", "list"],
        ["user", "add", "carol", "--generate"],
        ["user", "passwd", "carol", "--generate"],
        ["user", "delete", "carol", "--yes"],
        ["service", "stop", "pop3"],
        ["service", "start", "pop3"],
        ["check-config"],
    ):
        ended = daemon.mailctl(*command, "--json")
        assert (ended.status, ended.errors) == (0, ""), command
        assert json.loads(ended.output) is not None, command


def test_a_new_user_gets_mail_at_once(daemon: Daemon) -> None:
    """An account made while the service runs receives, logs in and is listed."""
    given = daemon.mailctl("user", "add", "carol", "--password-stdin", given="s3cret of Carol\n")
    made = daemon.mailctl("user", "add", "dora", "--generate", "--json")
    daemon.passwords |= {"carol": "s3cret of Carol", "dora": made.parsed["password"]}

    assert (given.status, made.status) == (0, 0)
    assert daemon.passwords["carol"] not in given.output + given.errors
    for user in ("carol", "dora"):
        send(daemon, f"{user}@test.com")
        client = daemon.pop3(user)
        assert client.stat()[0] == 1
        client.quit()
    assert "carol@test.com" in daemon.mailctl("user", "list").output


def test_a_changed_password_counts_at_once(daemon: Daemon) -> None:
    """The old password stops to work with the command that replaces it, though remembered."""
    daemon.pop3("alice").quit()
    ended = daemon.mailctl("user", "passwd", "alice", "--password-stdin", given="quite new 1\n")
    assert ended.status == 0

    with pytest.raises(error_proto, match="AUTH"):
        daemon.pop3("alice")
    daemon.passwords["alice"] = "quite new 1"
    daemon.pop3("alice").quit()
    daemon.submission("alice").quit()


def test_a_deleted_user_is_gone_with_all_mail(daemon: Daemon) -> None:
    """Nobody logs in, no mail is taken, and a namesake finds an empty maildrop."""
    send(daemon, "bob@test.com")
    assert daemon.mailctl("user", "delete", "bob", "--yes").status == 0

    with pytest.raises(error_proto, match="AUTH"):
        daemon.pop3("bob")
    with daemon.smtp() as client:
        client.ehlo()
        client.mail("x@example.com")
        assert client.rcpt("bob@test.com")[0] == 550

    made = daemon.mailctl("user", "add", "bob", "--generate", "--json").parsed
    daemon.passwords["bob"] = made["password"]
    namesake = daemon.pop3("bob")
    assert namesake.stat() == (0, 0)
    namesake.quit()


def test_a_stopped_service_closes_its_doors_only(daemon: Daemon) -> None:
    """Stopping SMTP says 421 to its sessions, closes its ports and leaves POP3 alone."""
    with closing(Line(daemon.ports["mx"])) as open_session:
        open_session.hear()
        assert daemon.mailctl("service", "stop", "smtp").status == 0
        assert open_session.hear().startswith("421 4.3.2")
    assert daemon.greeting("mx") is None
    assert daemon.greeting("submission") is None
    assert daemon.greeting("pop3") is not None

    assert daemon.mailctl("service", "start", "smtp").status == 0
    assert daemon.greeting("mx") is not None


def test_a_stopped_service_stays_so_after_a_restart(daemon: Daemon) -> None:
    """The daemon remembers what an administrator has stopped, and what he has started again."""
    assert daemon.mailctl("service", "stop", "pop3").status == 0
    daemon.stop()
    daemon.start(expect=("mx", "submission"))
    assert daemon.greeting("pop3") is None

    assert daemon.mailctl("service", "start", "pop3").status == 0
    daemon.stop()
    daemon.start()
    assert daemon.greeting("pop3") is not None


def test_exit_statuses_tell_what_happened(make_daemon: MakeDaemon) -> None:
    """Scripts see whether a command was refused, mistyped or heard by nobody."""
    daemon = make_daemon()

    ended = daemon.mailctl("status")
    assert (ended.status, ended.output) == (3, "")
    assert "mailsvc is not running" in ended.errors
    assert len(ended.errors.splitlines()) == 1

    daemon.start()
    refused = daemon.mailctl("user", "add", "alice", "--generate")
    assert (refused.status, len(refused.errors.splitlines())) == (1, 1)
    assert daemon.mailctl("user", "frobnicate").status == 2

    daemon.kill()
    ended = daemon.mailctl("status")
    assert (ended.status, len(ended.errors.splitlines())) == (3, 1)
    assert "nobody answers" in ended.errors


def test_the_program_of_the_manual_runs(daemon: Daemon) -> None:
    """As it stands there, in the folder of the daemon."""
    manual = (Path(__file__).parents[2] / "docs" / "administration.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(.*?)```", manual, re.DOTALL)

    done = run([sys.executable, "-c", code], folder=daemon.folder)

    assert done.status == 0, done.errors
    assert "alice@test.com 0" in done.output
