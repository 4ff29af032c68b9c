"""A disk that fills up while the service runs."""

from contextlib import closing
from pathlib import Path
from poplib import POP3, error_proto

import pytest

from tests.support.daemon import Daemon, MakeDaemon, wait_until
from tests.support.load import Ledger, Load, collected_tokens
from tests.support.small_disk import SmallDisk, fill


@pytest.fixture
def cramped(make_daemon: MakeDaemon, small_disk: SmallDisk) -> Daemon:
    """
    Start a daemon whose state folder is a small disk, and let it use all of that.

    The write-ahead log alone takes 16 MiB, and what it holds stands in the database, too.
    """
    daemon = make_daemon(settings={"spool": {"spare_disk": 0}, "database": {"readers": 32}})
    small_disk("state", daemon.folder, mib=40)
    return daemon.start()


def send(daemon: Daemon, name: str, octets: int, most: int = 10) -> Ledger:
    """Let six clients send some messages each."""
    return Load(daemon.ports["mx"], name, senders=6, octets=octets, most=most).start().finish()


def collect(client: POP3, ledger: Ledger) -> None:
    """See that all that was accepted is there, once and whole."""
    with closing(client):
        ledger.check(collected_tokens(client))
        client.quit()


@pytest.mark.parametrize(
    ("octets", "left_kib"), [(3_000, 600), (150_000, 600), (2_000_000, 600), (2_000_000, 9_000)]
)
def test_senders_keep_what_does_not_fit(cramped: Daemon, octets: int, left_kib: int) -> None:
    """Clients hear 452 4.3.1, users still read their mail, and room is all it takes to go on."""
    ledger = send(cramped, "before", 3_000)
    assert len(ledger.accepted) == 60
    filling = fill(cramped.state, left_kib=left_kib)

    full = send(cramped, "full", octets, most=15)
    ledger.add(full)
    assert {reply[:9] for reply in full.replies} == {"452 4.3.1"}
    assert not full.unanswered
    collect(cramped.pop3("bob"), ledger)

    filling.unlink()
    after = send(cramped, "after", 3_000)
    assert len(after.accepted) == 60, after.replies
    ledger.add(after)
    collect(cramped.pop3("bob"), ledger)
    restart_and_collect(cramped, ledger)


def test_users_read_their_mail_on_a_full_disk(cramped: Daemon) -> None:
    """On a disk without a free octet users log in and read; what cannot be removed stays."""
    ledger = send(cramped, "before", 100_000, most=4)
    filling = fill(cramped.state)
    assert not send(cramped, "full", 3_000, most=3).accepted

    client = cramped.pop3("bob")
    assert collected_tokens(client).keys() == ledger.accepted
    client.dele(1)
    kept = False
    try:
        client.quit()
    except error_proto as error:
        kept = "SYS/TEMP" in str(error)
        assert kept
        client.close()

    filling.unlink()
    client = cramped.pop3("bob")
    assert client.stat()[0] == len(ledger.accepted) - (not kept)
    client.quit()


def test_mail_alone_never_fills_the_disk(make_daemon: MakeDaemon, small_disk: SmallDisk) -> None:
    """Senders hear 452 while there is room to remove mail; then mail gets in again."""
    daemon = make_daemon(settings={"spool": {"spare_disk": "24 MiB"}})
    small_disk("state", daemon.folder, mib=64)
    daemon.start()
    ledger = send(daemon, "filling", 1_000_000, most=20)
    assert "452 4.3.1" in {reply[:9] for reply in ledger.replies}
    assert ledger.accepted

    client = daemon.pop3("bob")
    for number in range(1, client.stat()[0] + 1):
        client.dele(number)
    client.quit()

    wait_until(lambda: send(daemon, "again", 3_000, most=1).accepted, "mail is taken again", 30)


def restart_and_collect(daemon: Daemon, ledger: Ledger) -> None:
    """Stop in order, start again and compare."""
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.output + daemon.errors
    assert not any("traceback" in read(file) for file in daemon.state.glob("log/*"))
    collect(daemon.start().pop3("bob"), ledger)


def read(file: Path) -> str:
    """Read a log file; a full disk may have cut a line."""
    return file.read_text("utf-8", "replace")
