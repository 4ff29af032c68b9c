"""A maildrop is for one client at a time."""

from poplib import error_proto

import pytest

from tests.support.daemon import Daemon, wait_until


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
