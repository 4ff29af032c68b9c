"""A maildrop is for one client at a time."""

import sqlite3
import time
from contextlib import closing
from poplib import error_proto
from threading import Event, Thread

import pytest

from tests.support.daemon import Daemon, note, wait_until

MANY = 100_000


def may_enter(daemon: Daemon) -> bool:
    """Try to open Bob's maildrop, and leave it again."""
    try:
        client = daemon.pop3("bob")
    except error_proto as error:
        if b"[IN-USE]" not in error.args[0]:
            raise
        return False
    client.quit()
    return True


def test_the_second_client_hears_in_use(daemon: Daemon) -> None:
    """It gets in as soon as the first has said QUIT, and nobody else is locked out."""
    first = daemon.pop3("bob")

    with pytest.raises(error_proto, match=r"\[IN-USE\]"):
        daemon.pop3("bob")
    daemon.pop3("alice").quit()
    first.quit()

    assert may_enter(daemon)


def test_a_lost_connection_frees_the_maildrop(daemon: Daemon) -> None:
    """A client that vanishes does not lock its user out."""
    daemon.pop3("bob").close()

    wait_until(lambda: may_enter(daemon), "the way into a maildrop that nobody holds")


def test_a_crash_frees_the_maildrop(daemon: Daemon) -> None:
    """After kill -9 in the midst of a session the user gets in at once."""
    client = daemon.pop3("bob")
    daemon.kill()
    client.close()

    assert may_enter(daemon.start())


def test_what_a_crash_interrupts_is_not_removed(daemon: Daemon) -> None:
    """Messages that were marked, without a QUIT, are there after the crash."""
    with daemon.smtp() as sender:
        sender.sendmail("x@example.com", ["bob@test.com"], b"Subject: one\r\n\r\ntext\r\n")
    client = daemon.pop3("bob")
    client.dele(1)
    daemon.kill()
    client.close()

    again = daemon.start().pop3("bob")
    assert again.stat()[0] == 1
    again.quit()


def test_what_quit_has_removed_stays_removed(daemon: Daemon) -> None:
    """After +OK to QUIT not even a crash brings a removed message back."""
    with daemon.smtp() as sender:
        sender.sendmail("x@example.com", ["bob@test.com"], b"Subject: one\r\n\r\ntext\r\n")
    client = daemon.pop3("bob")
    client.dele(1)
    assert client.quit().startswith(b"+OK")
    daemon.kill()

    again = daemon.start().pop3("bob")
    assert again.stat() == (0, 0)
    again.quit()


def fill_maildrop(daemon: Daemon, user: str) -> None:
    """Put one message into a maildrop, and then many times more, past the daemon."""
    with daemon.smtp() as sender:
        sender.sendmail("x@example.com", [f"{user}@test.com"], b"Subject: one\r\n\r\ntext\r\n")
    # Every column of the one entry again, with the next uids.
    copy = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ? - 1) "
        "INSERT INTO entry (folder_id, uid, message_id, octets, received, flags, keywords, modseq,"
        " thread_id) SELECT folder_id, uid + i, message_id, octets, received, flags, keywords,"
        " modseq, thread_id FROM entry, n"
    )
    count = (
        "UPDATE folder SET uidnext = uidnext + ?1 - 1, messages = ?1, octets = octets * ?1 "
        "WHERE id IN (SELECT folder_id FROM entry)"
    )
    with closing(sqlite3.connect(daemon.database, timeout=30)) as database, database:
        database.execute(copy, [MANY])
        database.execute(count, [MANY])


def test_a_huge_maildrop_holds_nobody_up(daemon: Daemon) -> None:
    """Others are served while 100,000 messages are opened, listed and removed."""
    fill_maildrop(daemon, "bob")
    other, done = daemon.pop3("alice"), Event()
    waits = []

    def work() -> None:
        while not done.is_set():
            began = time.monotonic()
            assert other.stat() == (0, 0)
            waits.append(time.monotonic() - began)

    working = Thread(target=work)
    working.start()
    try:
        began = time.monotonic()
        client = daemon.pop3("bob")
        assert client.stat()[0] == MANY
        opened = time.monotonic() - began
        assert len(client.list()[1]) == len(client.uidl()[1]) == MANY
        for first in range(1, MANY, 1000):
            group = range(first, first + 1000)
            client.sock.sendall(b"".join(b"DELE %d\r\n" % number for number in group))
            assert all(client.file.readline().startswith(b"+OK") for _ in group)
        client.quit()
    finally:
        done.set()
        working.join(30)
    other.quit()

    note(f"opened in {opened:.2f} s; {len(waits)} answers, the slowest in {max(waits):.3f} s")
    assert max(waits) < 1
    assert opened < 10
    assert may_enter(daemon)
