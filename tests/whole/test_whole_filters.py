"""Rules of an administrator count at once, also for sessions that are open."""

from contextlib import closing
from poplib import POP3, error_proto
from smtplib import SMTP, SMTPAuthenticationError, SMTPConnectError, SMTPServerDisconnected

import pytest

from tests.support.daemon import Daemon, wait_until


def _deny(daemon: Daemon, subject: str, *options: str) -> int:
    made = daemon.mailctl("filter", "add", "deny", subject, *options, "--json")
    assert made.status == 0, made.errors
    number: int = made.parsed["number"]
    return number


def _connects(daemon: Daemon, name: str) -> bool:
    greeting = daemon.greeting(name) or b""
    return greeting.startswith((b"220", b"+OK"))


def _is_gone(client: POP3 | SMTP) -> bool:
    try:
        answer = client.noop()
    except (error_proto, SMTPServerDisconnected, OSError):
        return True
    return not isinstance(answer, bytes) and answer[0] == 421


def test_a_network_is_kept_out_and_let_in_again(daemon: Daemon) -> None:
    """New connections hear why; open ones end; the other service goes on."""
    with closing(daemon.pop3("alice")) as drop, closing(daemon.smtp()) as client:
        client.ehlo()

        number = _deny(daemon, "127.0.0.0/8", "--service", "pop3")

        wait_until(lambda: _is_gone(drop), "the session to end")
        assert client.noop()[0] == 250
        assert (daemon.greeting("pop3") or b"").startswith(b"-ERR [SYS/PERM]")
        assert _connects(daemon, "mx")
        assert daemon.mailctl("filter", "remove", str(number)).status == 0
        wait_until(lambda: _connects(daemon, "pop3"), "a greeting")

        number = _deny(daemon, "127.0.0.1", "--service", "smtp")
        wait_until(lambda: _is_gone(client), "the session to end")
    with pytest.raises(SMTPConnectError, match=r"5\.7\.1"):
        daemon.smtp()
    _deny(daemon, "127.0.0.0/8", "--service", "smtp", "--for", "1s")
    assert daemon.mailctl("filter", "remove", str(number)).status == 0
    wait_until(lambda: _connects(daemon, "mx"), "the end of the rule")


def test_senders_and_recipients_are_refused(daemon: Daemon) -> None:
    """By address and by domain; the most specific rule decides, in an open session, too."""
    with closing(daemon.smtp()) as client:
        client.ehlo()
        assert client.mail("x@example.org")[0] == 250
        client.rset()

        _deny(daemon, "*.org")
        assert daemon.mailctl("filter", "add", "allow", "good.example.org").status == 0
        _deny(daemon, "bob@test.com", "--direction", "receive")

        wait_until(lambda: client.mail("x@example.org")[0] == 550, "the rule")
        assert client.mail("x@good.example.org")[0] == 250
        wait_until(lambda: client.rcpt("bob@test.com")[0] == 550, "the rule")
        assert client.rcpt("alice@test.com")[0] == 250
        assert client.rcpt("x@good.example.org")[0] == 550  # an open door is no relay


def test_a_user_is_kept_out_of_one_service(daemon: Daemon) -> None:
    """With the right password."""
    _deny(daemon, "alice@test.com", "--service", "smtp", "--direction", "send")

    def is_refused() -> bool:
        try:
            daemon.submission("alice").quit()
        except SMTPAuthenticationError:
            return True
        return False

    wait_until(is_refused, "the rule")
    daemon.pop3("alice").quit()
    daemon.submission("bob").quit()


def test_a_rule_counts_with_the_answer(daemon: Daemon) -> None:
    """Whoever comes after it, however soon; and the same without it."""
    for _ in range(10):
        added = daemon.mailctl("filter", "add", "deny", "127.0.0.0/8", "--json")
        assert not _connects(daemon, "mx")
        assert not _connects(daemon, "pop3")
        assert daemon.mailctl("filter", "remove", str(added.parsed["number"])).status == 0
        assert _connects(daemon, "mx")
        assert _connects(daemon, "pop3")
