"""What stops a start says so in one line, in the foreground and in the background."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import yaml

from tests.support.daemon import Daemon, MakeDaemon, installed, wait_until
from tests.support.small_disk import SmallDisk, fill

Prepare = Callable[[Daemon, Daemon], None]
"""Makes a bad day for the first daemon; the second one runs."""


def taken_port(daemon: Daemon, other: Daemon) -> None:
    """Give it the ports of another program."""
    settings = daemon.settings | {"listeners": other.settings["listeners"]}
    daemon.write_config(yaml.safe_dump(settings))


def database_in_use(daemon: Daemon, other: Daemon) -> None:
    """Give it the database of a daemon that runs."""
    url = f"sqlite:///{other.database}"
    daemon.write_config(yaml.safe_dump(daemon.settings | {"database": {"url": url}}))


def state_is_a_file(daemon: Daemon, _: Daemon) -> None:
    """Put a file where the state folder should be."""
    daemon.state.write_text("a file")


def newer_schema(daemon: Daemon, other: Daemon) -> None:
    """Give it a database that a later version has upgraded."""
    daemon.state.mkdir()
    with (
        closing(sqlite3.connect(other.database)) as source,
        closing(sqlite3.connect(daemon.database)) as copy,
        copy,
    ):
        source.backup(copy)
        copy.execute("UPDATE alembic_version SET version_num = '9999'")


def garbage(daemon: Daemon, _: Daemon) -> None:
    """Put something else where the database should be."""
    daemon.state.mkdir()
    daemon.database.write_bytes(b"this is no database\n" * 1000)


def broken_yaml(daemon: Daemon, _: Daemon) -> None:
    """Forget a bracket."""
    daemon.write_config("state: state\nlisteners: {mx: {kind: smtp, port: 25}\n")


def unknown_key(daemon: Daemon, _: Daemon) -> None:
    """Mistype a key."""
    daemon.write_config("state: state\nsmtp: {largest_mesage: 25 MiB}\n")


def long_path(daemon: Daemon, _: Daemon) -> None:
    """Choose a place where no socket can be; the database and its threads are there by then."""
    daemon.settings["state"] = "long" * 30
    daemon.write_config(yaml.safe_dump(daemon.settings))


def no_server(daemon: Daemon, _: Daemon) -> None:
    """Name a database server that is not there."""
    url = "postgresql+psycopg://mailsvc:not-to-be-shown@127.0.0.1:1/mailsvc"
    daemon.write_config(yaml.safe_dump(daemon.settings | {"database": {"url": url}}))


BAD_DAYS: dict[str, tuple[Prepare, tuple[str, ...]]] = {
    "port taken": (taken_port, ("port", "in use", "change listeners.mx")),
    "database in use": (database_in_use, ("another mailsvc (process", "stop it first")),
    "state is a file": (state_is_a_file, ("/state:", "move it away")),
    "newer schema": (newer_schema, ("revision 9999", "newer mailsvc")),
    "garbage": (garbage, ("database cannot be read", "restore it from a backup")),
    "broken YAML": (broken_yaml, ("config.yaml: line ", "not YAML")),
    "unknown key": (unknown_key, ("smtp.largest_mesage", 'mean "smtp.largest_message"')),
    "long path": (long_path, ("control socket", "set control.socket")),
    "no server": (no_server, ("connection", "check database.url")),
}


def check_told(daemon: Daemon, words: tuple[str, ...], *, background: bool) -> None:
    """Start, and read the one line."""
    ended = daemon.try_to_start(background=background, seconds=20)

    assert ended.status != 0
    assert "Traceback" not in ended.output + ended.errors
    assert len(ended.errors.splitlines()) == 1, ended.errors
    assert ended.errors.startswith("mailsvc: ")
    for word in words:
        assert word in ended.errors
    assert "not-to-be-shown" not in ended.output + ended.errors
    wait_until(lambda: not daemon.processes(), "the end of what the start has left behind")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run another daemon meanwhile."""
    daemon = Daemon(tmp_path_factory.mktemp("other"))
    daemon.start()
    yield daemon
    daemon.clean_up()


@pytest.mark.parametrize("background", [False, True], ids=["foreground", "background"])
@pytest.mark.parametrize("day", BAD_DAYS)
def test_a_start_that_fails_says_why_in_one_line(
    make_daemon: MakeDaemon, other: Daemon, day: str, *, background: bool
) -> None:
    """No traceback, no log to search: what is wrong and what to do, and a status of failure."""
    prepare, words = BAD_DAYS[day]
    daemon = make_daemon()
    prepare(daemon, other)

    check_told(daemon, words, background=background)


@pytest.mark.parametrize("background", [False, True], ids=["foreground", "background"])
def test_a_state_folder_of_somebody_else(make_daemon: MakeDaemon, *, background: bool) -> None:
    """A folder that may not be written to is named, with who should own it."""
    daemon = make_daemon(prefix=without_privileges())
    daemon.state.mkdir(mode=0o500)

    check_told(daemon, ("/state:", "Permission denied", "give it to"), background=background)


def without_privileges() -> list[str]:
    """Let even root obey the permissions of files."""
    if os.geteuid() != 0:
        return []
    lost = "-dac_override,-dac_read_search"
    return [installed("setpriv"), "--bounding-set", lost, "--inh-caps", lost]


@pytest.mark.parametrize("background", [False, True], ids=["foreground", "background"])
@pytest.mark.parametrize("left", [0, 64, 256], ids=lambda kib: f"{kib}KiB")
def test_a_full_disk_at_the_start(
    make_daemon: MakeDaemon, small_disk: SmallDisk, left: int, *, background: bool
) -> None:
    """However little room is left, the line says that there is too little."""
    daemon = make_daemon()
    fill(small_disk("state", daemon.folder, mib=2), left_kib=left)

    check_told(daemon, ("make room",), background=background)
