"""A school of 300 users from one file, through a crash of the daemon."""

import csv
import sqlite3
import subprocess
from contextlib import closing

from tests.support.daemon import Daemon, program, wait_until

USERS = 300


def test_a_school_is_made_though_the_daemon_is_killed(daemon: Daemon) -> None:
    """The same command again makes the rest; nobody twice, and every password is good."""
    roster, out = daemon.folder / "school.csv", daemon.folder / "passwords.csv"
    rows = "".join(f"pupil{number},Pupil {number}\n" for number in range(USERS))
    roster.write_text(f"address,display_name\n{rows}")
    options = ["user", "import", str(roster), "--generate", "--passwords-out", str(out)]
    command = [*program("mailctl"), "-c", str(daemon.config), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        wait_until(lambda: _accounts(daemon) > 20, "some accounts")
        daemon.kill()
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert b"run the same command again" in errors, errors
    first = out.read_text()
    daemon.start()
    assert 3 < _accounts(daemon) < USERS

    again = daemon.mailctl(*options, seconds=120)

    assert again.status == 0, again.errors
    assert f"{USERS} rows: " in again.output
    assert _accounts(daemon) == USERS + 3
    assert out.read_text() == first
    made = dict(list(csv.reader(out.read_text().splitlines()))[1:])
    assert len(made) == USERS
    daemon.passwords |= made
    for name in ("pupil0", "pupil7", f"pupil{USERS - 1}"):
        with closing(daemon.pop3(name)) as client:
            assert client.stat()[0] == 0


def _accounts(daemon: Daemon) -> int:
    # In the file: a program that asks takes a second on a busy machine.
    with closing(sqlite3.connect(daemon.database)) as looking:
        [accounts] = looking.execute("SELECT count(*) FROM account").fetchone()
    return int(accounts)
