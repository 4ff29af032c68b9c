"""One message's whole story, from the running daemon."""

import re
from contextlib import closing
from poplib import POP3, error_proto
from typing import Any

import pytest

from tests.support.daemon import Daemon, wait_until

LETTER = b"From: x@example.com\r\nMessage-ID: <story-1@example.com>\r\nSubject: one\r\n\r\ntext\r\n"


def _traced(daemon: Daemon, message: str) -> list[dict[str, Any]]:
    ended = daemon.mailctl("trace", message, "--json")
    return ended.parsed if ended.status == 0 else []


def _found(daemon: Daemon, *options: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = daemon.mailctl("trail", "search", *options, "--json").parsed
    return rows


def _events(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((one["event"], one["to"]) for one in rows)


def test_a_message_is_followed_from_its_coming_to_its_end(daemon: Daemon) -> None:
    """By its number and by its Message-ID; in the order in which it happened."""
    with daemon.smtp() as client:
        client.ehlo()
        client.mail("x@example.com")
        client.rcpt("alice@test.com")
        client.rcpt("bob@test.com")
        code, text = client.data(LETTER)
    assert code == 250
    found = re.search(rb"[0-9a-f]{16}", text)
    assert found is not None
    with closing(daemon.pop3("alice")) as drop:
        drop.retr(1)
        drop.dele(1)
        drop.quit()

    wait_until(lambda: len(_traced(daemon, "<story-1@example.com>")) == 4, "the story")
    rows = _traced(daemon, "<story-1@example.com>")

    assert _events(rows) == [
        ("accepted", "alice@test.com"),
        ("accepted", "bob@test.com"),
        ("removed", "alice@test.com"),
        ("retrieved", "alice@test.com"),
    ]
    assert [one["event"] for one in rows][-2:] == ["retrieved", "removed"]
    assert _traced(daemon, found.group().decode()) == rows
    assert "retrieved" in daemon.mailctl("trace", "story-1@example.com").output
    # What a table of the trail names is what trace takes.
    listed = daemon.mailctl("trail", "search", "--event", "retrieved").output.splitlines()
    assert listed[1].split()[2:4] == ["retrieved", found.group().decode()]
    missing = daemon.mailctl("trace", "<nobody@example.com>")
    assert (missing.status, "no message" in missing.errors) == (1, True)


def test_refusals_and_logins_are_in_the_trail(daemon: Daemon) -> None:
    """A recipient, a whole message, a password; and who did it."""
    with daemon.smtp() as client:
        client.ehlo()
        client.mail("x@example.com")
        client.rcpt("nobody@test.com")
        client.rcpt("alice@test.com")
        assert client.data(b"Received: a\r\n" * 200 + LETTER)[0] == 550
        client.rset()
    with closing(POP3("127.0.0.1", daemon.ports["pop3"], timeout=30)) as client:
        client.user("bob")
        with pytest.raises(error_proto):
            client.pass_("hunter22")
    with closing(daemon.pop3("bob")) as drop:
        drop.quit()
    wait_until(lambda: _found(daemon, "--event", "login"), "the login")
    [unknown] = _found(daemon, "--address", "nobody@test.com")
    assert (unknown["event"], unknown["status"], unknown["from"]) == (
        "refused",
        "5.1.1",
        "x@example.com",
    )
    [loop] = _traced(daemon, "<story-1@example.com>")
    assert (loop["event"], loop["to"], loop["message"] is not None) == (
        "refused",
        "alice@test.com",
        True,
    )
    [failed] = _found(daemon, "--event", "login failed", "--account", "bob")
    assert (failed["from"], failed["account"]) == ("bob@test.com", "bob@test.com")
    said = daemon.mailctl("log", "search", "pop3", "--account", "bob@test.com").output
    assert "login as 'bob@test.com' from 127.0.0.1 failed" in said
    assert "hunter22" not in str(failed)
    [login] = _found(daemon, "--event", "login", "--account", "bob")
    assert login["client"] == "127.0.0.1"
    assert _found(daemon, "--ip", "192.0.2.99") == []


def test_a_message_with_bare_line_ends_is_in_the_trail(daemon: Daemon) -> None:
    """And in the log: whoever asks why it did not come finds it."""
    with daemon.smtp() as client:
        client.ehlo()
        client.mail("bare@example.com")
        client.rcpt("alice@test.com")
        client.putcmd("DATA")
        assert client.getreply()[0] == 354
        client.send(b"Subject: bare\n\ntext\r\n.\r\n")
        assert client.getreply()[0] == 550

    wait_until(lambda: _found(daemon, "--address", "bare@example.com"), "its row")
    [bare] = _found(daemon, "--address", "bare@example.com")
    assert (bare["event"], bare["to"], bare["status"]) == ("refused", "alice@test.com", "5.6.11")
    assert "bare LF" in daemon.mailctl("log", "search", "smtp", "--text", "bare LF").output
