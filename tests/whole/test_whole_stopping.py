"""No message that was answered with 250 is lost, and none is there twice."""

import os
import random
import time
from collections import Counter

from tests.support.daemon import Daemon, note, wait_until
from tests.support.load import Ledger, Load, collected_tokens, stored_tokens

ROUNDS = 50


def test_sigterm_under_load_loses_nothing(daemon: Daemon) -> None:
    """A service that is told to stop answers what it has, says 421 and ends with status 0."""
    load = Load(daemon.ports["mx"], "term", senders=20).start()
    wait_until(lambda: load.accepted > 200, "200 messages")

    began = time.monotonic()
    status = daemon.stop()
    took = time.monotonic() - began
    ledger = load.finish()

    assert status == 0
    assert took < 5
    assert {reply[:9] for reply in ledger.replies} <= {"421 4.3.2"}
    daemon.start()
    client = daemon.pop3("bob")
    ledger.check(collected_tokens(client))
    client.quit()


def test_a_second_sigterm_does_no_harm(daemon: Daemon) -> None:
    """An impatient operator does not break the orderly end."""
    load = Load(daemon.ports["mx"], "twice", senders=20).start()
    wait_until(lambda: load.accepted > 100, "100 messages")

    for _ in range(5):
        os.kill(daemon.pid, 15)
    assert daemon.stop() == 0

    ledger = load.finish()
    ledger.check(stored_tokens(daemon.database)[0])
    assert "Traceback" not in daemon.output + daemon.errors


def test_a_crash_at_any_moment_loses_nothing(daemon: Daemon) -> None:
    """
    Kill -9 in the midst of traffic, fifty times.

    Each message is there once if it was answered with 250, not at all if it was refused,
    and at most once if the answer never came.
    """
    seed = random.randrange(1_000_000)  # noqa: S311 - no secret
    note(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311 - no secret
    everything, found, highest = Ledger(), Counter[str](), 0
    for number in range(ROUNDS):
        ledger = crash(daemon, f"kill{number}", chance)
        everything.add(ledger)
        daemon.start()
        fresh, highest = stored_tokens(daemon.database, highest)
        ledger.check(fresh)
        found += fresh

    note(f"{len(everything.accepted)} messages, {len(everything.unanswered)} without an answer")
    assert len(everything.accepted) > 10 * ROUNDS
    everything.check(found)
    client = daemon.pop3("bob")
    assert collected_tokens(client, whole=False) == found
    client.quit()


def crash(daemon: Daemon, name: str, chance: random.Random) -> Ledger:
    """Load the daemon and kill it at a moment that nobody has chosen."""
    octets = chance.choice([500, 5_000, 50_000])
    load = Load(daemon.ports["mx"], name, senders=8, octets=octets).start()
    enough = chance.randrange(150)
    wait_until(lambda: load.accepted > enough, "some messages")
    daemon.kill()
    return load.finish()
