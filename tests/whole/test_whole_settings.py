"""Settings are changed while the daemon runs, and sessions go on."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from poplib import POP3
from socket import create_server
from time import monotonic

import pytest

from tests.support.daemon import Daemon, MakeDaemon, free_ports, wait_until

HERE = "127.0.0.1"


def _set(daemon: Daemon, name: str, value: object) -> None:
    done = daemon.mailctl("settings", "set", name, str(value))
    assert done.status == 0, done.errors


def _greets(port: int, host: str = HERE) -> bool:
    try:
        with closing(POP3(host, port, timeout=5)) as client:
            return client.getwelcome().startswith(b"+OK")
    except OSError:
        return False


def test_a_listener_moves_and_its_sessions_stay(daemon: Daemon) -> None:
    """Its old port is closed; after a restart it is at the new one."""
    [port] = free_ports(1)
    with closing(daemon.pop3("alice")) as session:
        _set(daemon, "listeners.pop3.port", port)

        assert _greets(port)
        assert not _greets(daemon.ports["pop3"])
        assert session.noop().startswith(b"+OK")
        session.quit()
    daemon.stop()
    daemon.start(expect=("mx", "submission"))
    wait_until(lambda: _greets(port), "a greeting at the new port")
    assert daemon.mailctl("settings", "reset", "listeners").status == 0
    assert _greets(daemon.ports["pop3"])
    assert not _greets(port)


def test_a_port_that_is_taken_leaves_the_old_one(daemon: Daemon) -> None:
    """And says why; sessions do not notice."""
    with create_server((HERE, 0)) as other, closing(daemon.pop3("alice")) as session:
        port = other.getsockname()[1]
        done = daemon.mailctl("settings", "set", "listeners.pop3.port", str(port))

        assert done.status == 1
        assert f"port {port} cannot be opened for pop3: Address already in use" in done.errors
        assert _greets(daemon.ports["pop3"])
        assert session.noop().startswith(b"+OK")
    assert daemon.mailctl("settings", "list", "--changed", "--json").parsed == []


def test_an_address_changes_at_the_same_port(daemon: Daemon) -> None:
    """From this machine alone to all networks, and back; an address that is none stays out."""
    port = daemon.ports["pop3"]
    with closing(daemon.pop3("alice")) as session:
        _set(daemon, "listeners.pop3.address", "0.0.0.0")  # noqa: S104 - tried for a moment
        assert _greets(port, "127.0.0.2")
        refused = daemon.mailctl("settings", "set", "listeners.pop3.address", "192.0.2.1")
        assert refused.status == 1
        assert "Cannot assign requested address" in refused.errors
        assert _greets(port, "127.0.0.2")
        assert session.noop().startswith(b"+OK")


def test_a_listener_is_added_and_removed(daemon: Daemon) -> None:
    """The sessions of one that is removed end."""
    [port] = free_ports(1)
    _set(daemon, "listeners.lan", f"{{kind: pop3, port: {port}}}")
    with closing(POP3(HERE, port, timeout=10)) as session:
        assert daemon.mailctl("settings", "reset", "listeners.lan").status == 0
        assert not _greets(port)
        with pytest.raises(Exception, match=r"EOF|UNAVAIL|TEMP|stop"):
            session.noop()
    assert [one["name"] for one in daemon.mailctl("service", "list", "--json").parsed] == [
        "mx",
        "submission",
        "pop3",
    ]


def test_limits_count_in_open_sessions(daemon: Daemon) -> None:
    """What a client has been told before does not bind us."""
    with closing(daemon.smtp()) as client:
        assert client.ehlo()[0] == 250
        _set(daemon, "smtp.largest_message", "1KiB")
        assert client.mail("x@example.org", ["SIZE=5000"])[0] == 552
        assert client.ehlo()[0] == 250
        assert client.esmtp_features["size"] == "1024"
        _set(daemon, "hostname", "mx.example.net")
        assert b"mx.example.net" in client.ehlo()[1]
    with closing(daemon.smtp()) as client:
        assert client.ehlo()[1].startswith(b"mx.example.net")
        client.mail("x@example.org")
        client.rcpt("alice@test.com")
        assert client.data("Subject: short\r\n\r\nhello\r\n")[0] == 250
    with closing(daemon.pop3("alice")) as drop:
        assert any(b"by mx.example.net" in line for line in drop.retr(1)[1])


def test_logs_move(daemon: Daemon, tmp_path: Path) -> None:
    """All of them, or one; a folder that cannot be is told and changes nothing."""
    _set(daemon, "log.folders.smtp", tmp_path / "smtp logs")
    _set(daemon, "log.level", "debug")
    with closing(daemon.smtp()) as client:
        client.ehlo()
        client.mail("not an address")
    moved = tmp_path / "smtp logs" / "smtp.jsonl"
    wait_until(lambda: moved.exists() and moved.read_text(), "a line in the log")
    assert daemon.mailctl("log", "show", "smtp").output
    (tmp_path / "file").write_text("in the way")
    refused = daemon.mailctl("settings", "set", "log.folder", str(tmp_path / "file" / "log"))
    assert refused.status == 1
    assert "log files cannot be written here" in refused.errors


def test_the_change_of_another_node_counts(daemon: Daemon) -> None:
    """Whoever has written it into the database."""
    with closing(sqlite3.connect(daemon.database)) as other:
        other.execute(
            "INSERT INTO setting (name, value, revision, changed, changed_by)"
            " VALUES ('config.smtp.most_recipients', '100', 77, '2026-11-24 10:00:00', 'them')"
        )
        other.commit()
    with closing(daemon.smtp()) as client:

        def announced() -> bool:
            client.ehlo()
            return client.esmtp_features["limits"].strip() == "RCPTMAX=100"

        wait_until(announced, "the change of another node")


def test_a_change_that_cannot_be_kept_stops_no_start(make_daemon: MakeDaemon) -> None:
    """The port has another owner now: the one of config.yaml serves until it is free."""
    daemon = make_daemon()
    daemon.start()
    [port] = free_ports(1)
    _set(daemon, "listeners.pop3.port", port)
    _set(daemon, "listeners.lan", f"{{kind: pop3, port: {free_ports(1)[0]}}}")
    daemon.stop()
    with create_server((HERE, port)):
        daemon.start()
        assert _greets(daemon.ports["pop3"])
        assert "changed settings are not in force" in daemon.output + daemon.errors
    wait_until(lambda: _greets(port), "the changed port to be free")
    assert not _greets(daemon.ports["pop3"])


def test_a_port_of_the_file_that_is_taken_is_not_needed(make_daemon: MakeDaemon) -> None:
    """An administrator has moved the listener because of that."""
    daemon = make_daemon()
    daemon.start()
    [port] = free_ports(1)
    _set(daemon, "listeners.pop3.port", port)
    daemon.stop()
    with create_server((HERE, daemon.ports["pop3"])):
        daemon.start(expect=("mx", "submission"))
        wait_until(lambda: _greets(port), "a greeting at the new port")
        daemon.stop()


def test_a_service_stops_for_a_time(make_daemon: MakeDaemon) -> None:
    """It starts again by itself, also when the daemon was started anew meanwhile."""
    daemon = make_daemon()
    daemon.start()
    assert daemon.mailctl("service", "stop", "listeners.pop3", "--for", "1h").status == 0
    assert not _greets(daemon.ports["pop3"])
    daemon.kill()
    daemon.start(expect=("mx", "submission"))
    assert not _greets(daemon.ports["pop3"])
    daemon.kill()
    _end_in(daemon, timedelta(seconds=2))
    daemon.start(expect=("mx", "submission"))
    wait_until(lambda: _greets(daemon.ports["pop3"]), "the end of the time")
    assert daemon.mailctl("service", "stop", "listeners.pop3", "--for", "1s").status == 0
    wait_until(lambda: _greets(daemon.ports["pop3"]), "the end of the time")


def _end_in(daemon: Daemon, span: timedelta) -> None:
    """Let an hour pass at once, but for a span; the daemon does not run."""
    until = (datetime.now(UTC) + span).isoformat()
    with closing(sqlite3.connect(daemon.database)) as database, database:
        changed = database.execute(
            "UPDATE setting SET value = json_set(value, '$.until', ?) WHERE name LIKE 'service.%'",
            [until],
        )
        assert changed.rowcount == 1


def test_a_listener_ends_and_the_others_do_not_notice(daemon: Daemon) -> None:
    """Neither does who stops it wait for their sessions."""
    [port] = free_ports(1)
    _set(daemon, "limits.stop_timeout", "30s")
    _set(daemon, "listeners.lan", f"{{kind: pop3, port: {port}}}")
    with closing(daemon.pop3("alice")) as session:
        assert daemon.mailctl("settings", "reset", "listeners.lan").status == 0
        assert session.noop().startswith(b"+OK")
        began = monotonic()
        _set(daemon, "listeners.lan", f"{{kind: pop3, port: {port}}}")
        assert daemon.mailctl("service", "stop", "lan").status == 0
        assert daemon.mailctl("settings", "reset", "listeners.lan").status == 0
        # A patience would have passed.
        assert monotonic() - began < 30
        assert session.noop().startswith(b"+OK")
        session.quit()
