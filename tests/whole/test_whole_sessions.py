"""Open sessions: seen, ended, and gone when their login is no longer good."""

from contextlib import closing
from poplib import POP3, error_proto
from smtplib import SMTP, SMTPServerDisconnected

import pytest

from tests.support.daemon import Daemon, wait_until


def _listed(daemon: Daemon, *options: str) -> list[tuple[str, str | None]]:
    found = daemon.mailctl("session", "list", *options, "--json").parsed
    return [(one["listener"], one["user"]) for one in found]


def _is_gone(client: POP3) -> bool:
    """Tell whether the server has hung up: what it hears is answered or ended."""
    try:
        client.noop()
    except (error_proto, OSError):
        return True
    return False


def _farewell(client: SMTP) -> int:
    """Give the reply that ends a session."""
    try:
        return client.noop()[0]
    except SMTPServerDisconnected:
        return 0


def test_sessions_are_listed_and_ended(daemon: Daemon) -> None:
    """By number, by user and by address; what is not meant goes on."""
    bob, other = daemon.submission("bob"), daemon.smtp()
    with closing(daemon.pop3("alice")), closing(bob), closing(other):
        other.ehlo()
        assert sorted(_listed(daemon), key=str) == sorted(
            [("pop3", "alice@test.com"), ("submission", "bob@test.com"), ("mx", None)], key=str
        )
        assert _listed(daemon, "--user", "bob") == [("submission", "bob@test.com")]
        assert len(_listed(daemon, "--ip", "127.0.0.0/8")) == 3

        assert daemon.mailctl("session", "kill", "--user", "bob").output == "Ended 1 session.\n"

        wait_until(lambda: len(_listed(daemon)) == 2, "the session to end")
        assert _farewell(bob) in {0, 421}
        assert other.noop()[0] == 250
        assert daemon.mailctl("session", "kill", "--all").status == 0
        wait_until(lambda: not _listed(daemon), "all sessions to end")


@pytest.mark.parametrize(
    "command",
    [
        ("user", "disable", "alice"),
        ("user", "switch", "alice", "pop3", "off"),
        ("user", "passwd", "alice", "--generate"),
        ("user", "delete", "alice", "--yes"),
        ("domain", "disable", "test.com"),
    ],
)
def test_who_may_no_longer_be_there_is_sent_away(daemon: Daemon, command: tuple[str, ...]) -> None:
    """At once, from a session that is open, without removing what it has marked."""
    with daemon.smtp() as sender:
        sender.sendmail("x@example.com", ["alice@test.com"], b"Subject: one\r\n\r\ntext\r\n")
    with closing(daemon.pop3("alice")) as client:
        client.dele(1)
        if command[0] == "domain":
            assert daemon.mailctl("domain", "add", "second.test").status == 0
            other = daemon.mailctl("user", "add", "b@second.test", "--admin", "--generate")
            assert other.status == 0
        done = daemon.mailctl(*command)
        assert done.status == 0, done.errors

        wait_until(lambda: _is_gone(client), "the session to end")

    if command[:2] == ("user", "switch"):
        assert daemon.mailctl("user", "switch", "alice", "pop3", "on").status == 0
        with closing(daemon.pop3("alice")) as again:
            assert again.stat()[0] == 1


def test_a_sender_is_told_why(daemon: Daemon) -> None:
    """A message under way is not taken, and the reply is a temporary one."""
    with closing(daemon.submission("alice")) as client:
        client.mail("alice@test.com")
        client.rcpt("bob@test.com")

        assert daemon.mailctl("user", "switch", "alice", "smtp", "off").status == 0

        wait_until(lambda: not _listed(daemon, "--user", "alice"), "the session to end")
        code, text = client.getreply()
        assert (code, text) == (421, b"4.7.0 Your login is no longer good")
