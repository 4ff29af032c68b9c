"""``kill -9`` while thousands of messages leave: all of them arrive."""

import re
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from tests.support.daemon import Daemon, MakeDaemon, note, wait_until
from tests.support.neighbours import neighbours

MESSAGES = 5000
SENDERS = 5
NO_LIMITS = {"login_messages": None, "login_recipients": None}


def _send(daemon: Daemon, sender: int) -> None:
    with closing(daemon.submission("alice")) as client:
        for number in range(sender, MESSAGES, SENDERS):
            text = f"From: alice@north.test\r\nSubject: number {number}\r\n\r\nhello\r\n"
            client.sendmail("alice@north.test", ["bob@south.test"], text)


def _arrived(daemon: Daemon) -> Counter[int]:
    """Count how often each message is there; straight from the database."""
    with closing(sqlite3.connect(daemon.database, timeout=30)) as base:
        bodies = base.execute("SELECT body FROM message").fetchall()
    return Counter(
        int(found[1]) for (body,) in bodies if (found := re.search(rb"number (\d+)", body))
    )


def _waiting(daemon: Daemon) -> int:
    found: int = daemon.mailctl("status", "--json").parsed["queue"]["waiting"]
    return found


def test_killed_while_thousands_leave(make_daemon: MakeDaemon) -> None:
    """Twice; a copy too many is where the kill hit before the answer was written down."""
    north, south = neighbours(
        make_daemon, "north.test", "south.test", outbound={"daily_messages": None}
    )
    north.settings["limits"] = NO_LIMITS
    north.write_settings()
    north.start()
    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(lambda one: _send(north, one), range(SENDERS)))
    south.start()
    for share in (1, 2):
        wait_until(lambda wanted=share: len(_arrived(south)) > wanted * MESSAGES // 4, "a part")  # type: ignore[misc]  # bound now
        north.kill()
        north.start()
    wait_until(lambda: not _waiting(north), "an empty queue", 120)

    arrived = _arrived(south)
    assert sorted(arrived) == list(range(MESSAGES))
    copies = arrived.total() - MESSAGES
    note(f"{MESSAGES} messages, killed twice: {copies} arrived twice")
    # One on each of twenty connections, at each kill.
    assert copies <= 2 * 20
