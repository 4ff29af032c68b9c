"""A broadcast through a crash of the daemon: everybody gets it, nobody twice."""

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from mailsvc.model.address import parse_address
from mailsvc.model.ids import IdSource
from mailsvc.store.accounts import NewAccount, add_account
from mailsvc.store.engine import open_engines
from tests.support.daemon import Daemon, program, wait_until

USERS = 6_000


def _populate(daemon: Daemon) -> None:
    engines, ids = open_engines(f"sqlite:///{daemon.database}", 1, 1), IdSource(9)
    try:
        with engines.write.begin() as conn:
            for number in range(USERS):
                address = parse_address(f"user{number}@test.com")
                add_account(conn, ids, NewAccount(address=address, hashed="none"))
    finally:
        engines.close()


def _counts(database: Path) -> list[tuple[int, int]]:
    """Give how many inboxes have how many entries and say how many messages."""
    with closing(sqlite3.connect(database)) as conn:
        return conn.execute(
            "SELECT messages, (SELECT count(*) FROM entry WHERE folder_id = folder.id) "
            "FROM folder WHERE role = 'inbox'"
        ).fetchall()


def test_a_killed_daemon_goes_on_where_it_was(daemon: Daemon) -> None:
    """Whoever waits for the end is told, and the next start finishes it."""
    daemon.stop()
    _populate(daemon)
    daemon.start()
    letter = daemon.folder / "letter.eml"
    letter.write_bytes(b"Subject: holidays\n\ntext\n")
    command = [*program("mailctl"), "-c", str(daemon.config), "broadcast", "send", "--all"]
    with subprocess.Popen(
        [*command, "--eml", str(letter), "--yes"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as sending:
        wait_until(
            lambda: 0 < sum(has for _, has in _counts(daemon.database)) < USERS, "some to have it"
        )
        daemon.kill()
        _, errors = sending.communicate(timeout=30)
    assert sending.returncode == 1
    assert b"closed the connection" in errors
    assert sum(has for _, has in _counts(daemon.database)) < USERS

    daemon.start()

    def is_ended() -> bool:
        [one] = json.loads(daemon.mailctl("broadcast", "list", "--json").output)
        return one["ended"] is not None

    wait_until(is_ended, "its end")
    counts = _counts(daemon.database)
    assert set(counts) == {(1, 1)}
    assert len(counts) == USERS + 3
    with closing(daemon.pop3("alice")) as client:
        assert client.stat()[0] == 1
        assert b"Subject: holidays" in client.retr(1)[1]
