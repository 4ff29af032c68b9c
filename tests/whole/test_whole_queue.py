"""Mail that waits: what an administrator sees and does, and what odd servers make of it."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.daemon import Daemon, MakeDaemon, free_ports, wait_until
from tests.support.neighbours import QUICK, arrives, maildrop, route_to, send
from tests.support.odd_server import OddServer, odd_server

AWAY = "away.test"


def _daemon(make_daemon: MakeDaemon, port: int | None = None, **outbound: Any) -> Daemon:
    """Start a daemon with a way to one server; without a port nobody is there."""
    where = port or free_ports(1)[0]
    routes = {"away": route_to(AWAY, where)}
    return make_daemon(settings={"outbound": {**QUICK, "routes": routes, **outbound}}).start()


def _waiting(daemon: Daemon, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.mailctl("queue", "list", *words, "--json").parsed
    return found


def _tried(daemon: Daemon) -> None:
    wait_until(lambda: [one for one in _waiting(daemon) if one["attempts"]], "an attempt")


def test_an_administrator_sees_what_waits_and_why(make_daemon: MakeDaemon) -> None:
    """List, show, status; nothing is there in the end."""
    daemon = _daemon(make_daemon, first_retry="1h")
    send(daemon, "alice", f"x@{AWAY}", f"y@{AWAY}", "bob@test.com")
    _tried(daemon)

    first, second = _waiting(daemon)
    assert [first["recipient"], second["recipient"]] == [f"x@{AWAY}", f"y@{AWAY}"]
    assert "Connection refused" in first["reply"]
    listed = daemon.mailctl("queue", "list").output
    assert f"alice@test.com  x@{AWAY}" in listed
    shown = daemon.mailctl("queue", "show", first["message"]).output
    assert "later by 127.0.0.1" in shown
    told = daemon.mailctl("status").output
    assert "2 recipients wait, the oldest for" in told
    assert f"{AWAY}: until" in told
    counted = daemon.mailctl("status", "--json").parsed["queue"]
    assert (counted["waiting"], counted["held"]) == (2, 0)
    trail = daemon.mailctl("trace", first["message"]).output
    assert "queued" in trail
    assert "deferred" in trail


def test_what_is_held_waits_until_it_is_released(make_daemon: MakeDaemon) -> None:
    """Whatever its time; then it is sent at once, though its server was away."""
    with odd_server("none") as server:
        daemon = _daemon(make_daemon, first_retry="1h")
        send(daemon, "alice", f"x@{AWAY}", subject="one")
        _tried(daemon)
        send(daemon, "bob", f"y@{AWAY}", subject="two")
        done = daemon.mailctl("queue", "hold", "--sender", "bob@test.com")
        assert done.output == "1 recipient held.\n"
        assert [one["recipient"] for one in _waiting(daemon, "--held")] == [f"y@{AWAY}"]
        way = f"{{domains: [{AWAY}], host: 127.0.0.1, port: {server.port}}}"
        assert daemon.mailctl("settings", "set", "outbound.routes.away", way).status == 0
        assert daemon.mailctl("queue", "retry", "--all").output == "1 recipient tried now.\n"
        wait_until(lambda: len(server.messages) == 1, "the first message")
        assert len(_waiting(daemon)) == 1
        assert daemon.mailctl("queue", "release", "--domain", AWAY).status == 0
        wait_until(lambda: len(server.messages) == 2, "the second message")
        wait_until(lambda: not _waiting(daemon), "an empty queue")
        assert b"Subject: two" in server.messages[1]


def test_mail_is_deleted_or_sent_back(make_daemon: MakeDaemon) -> None:
    """By message, recipient, sender or domain; never by naming nothing."""
    daemon = _daemon(make_daemon, first_retry="1h")
    send(daemon, "alice", f"x@{AWAY}", f"y@{AWAY}", subject="dear")
    _tried(daemon)
    nothing = daemon.mailctl("queue", "delete")
    assert nothing.status == 1
    assert "name a message" in nothing.errors
    [number] = {one["message"] for one in _waiting(daemon)}
    done = daemon.mailctl("queue", "delete", number, "--recipient", f"x@{AWAY}")
    assert done.output == "1 recipient deleted.\n"
    assert daemon.mailctl("queue", "bounce", "--domain", AWAY).output == "1 recipient sent back.\n"

    assert _waiting(daemon) == []
    arrives(daemon, "alice", "Your message could not be delivered")
    [report] = maildrop(daemon, "alice")
    assert f"Final-Recipient: rfc822; y@{AWAY}".encode() in report
    assert f"x@{AWAY}".encode() not in report.partition(b"rfc822-headers")[0]


def test_senders_hear_of_delay_and_of_the_end(make_daemon: MakeDaemon) -> None:
    """Once of a delay; RET=FULL gives all of it back, NOTIFY=NEVER nothing."""
    # The second attempt is the last: the time is over by then.
    daemon = _daemon(make_daemon, delay_notice="1s", lifetime="8s")
    with closing(daemon.submission("alice")) as client:
        client.ehlo()
        client.mail("alice@test.com", ["RET=FULL", "ENVID=number+2B1"])
        client.rcpt(f"x@{AWAY}", ["NOTIFY=FAILURE,DELAY", f"ORCPT=rfc822;x@{AWAY}"])
        client.rcpt(f"y@{AWAY}", ["NOTIFY=NEVER"])
        client.data("Subject: slow\r\n\r\nall of it\r\n")
    arrives(daemon, "alice", "Your message is delayed", "Your message could not be delivered")
    delayed, failed = maildrop(daemon, "alice")
    assert b"Action: delayed" in delayed
    assert b"Will-Retry-Until:" in delayed
    assert b"all of it" not in delayed
    assert b"Original-Envelope-Id: number+1" in failed
    assert f"Original-Recipient: rfc822;x@{AWAY}".encode() in failed
    assert b"Status: 5.4.7" in failed
    assert b"message/rfc822" in failed
    assert b"all of it" in failed
    assert f"y@{AWAY}".encode() not in failed


def test_a_bounce_of_a_bounce_ends_at_the_postmaster(make_daemon: MakeDaemon) -> None:
    """From the null path nobody else can be told."""
    with odd_server("none") as server:
        daemon = _daemon(make_daemon, server.port, first_retry="1h")
        assert daemon.mailctl("alias", "add", "away", f"x@{AWAY}").status == 0
        assert daemon.mailctl("queue", "hold", "--all").status == 0
        assert daemon.mailctl("settings", "set", "outbound.tls", "required").status == 0
        with closing(daemon.smtp()) as client:
            client.ehlo()
            client.mail("")
            assert client.rcpt("away@test.com")[0] == 250
            client.data("Subject: a report\r\n\r\nx\r\n")
        _tried(daemon)
        assert "offers no TLS" in _waiting(daemon)[0]["reply"]
        assert daemon.mailctl("queue", "bounce", "--sender", "<>").status == 0
        arrives(daemon, "admin", "Your message could not be delivered")
        assert server.messages == []


@contextmanager
def _with(make_daemon: MakeDaemon, mood: str, **more: Any) -> Iterator[tuple[Daemon, OddServer]]:
    with odd_server(mood) as server:
        yield _daemon(make_daemon, server.port, **more), server


def test_a_reply_behind_starttls_is_believed_by_nobody(make_daemon: MakeDaemon) -> None:
    """Twisted's client takes it for success: nothing is sent, and nothing is lost."""
    with _with(make_daemon, "inject", first_retry="1h") as (daemon, server):
        send(daemon, "alice", f"x@{AWAY}")
        _tried(daemon)
        assert "somebody may be in between" in _waiting(daemon)[0]["reply"]
        assert server.messages == []
        assert not [one for one in server.commands if one.startswith(b"MAIL")]


def test_a_cut_behind_the_final_dot_is_not_sent_again_at_once(make_daemon: MakeDaemon) -> None:
    """It may have arrived: the next attempt comes after the back-off, and is the last."""
    with _with(make_daemon, "cut", first_retry="4s", longest_retry="4s") as (daemon, server):
        send(daemon, "alice", f"x@{AWAY}")
        wait_until(lambda: len(server.messages) == 2, "the second try")
        wait_until(lambda: not _waiting(daemon), "an empty queue")
        [queued] = daemon.mailctl("trail", "search", "--event", "queued", "--json").parsed
        first, second = daemon.mailctl("queue", "show", queued["message"], "--json").parsed[
            "attempts"
        ]
        assert (first["outcome"], second["outcome"]) == ("unknown", "done")
        assert "after the end of the message" in first["conversation"][-1]
        waited = datetime.fromisoformat(second["started"]) - datetime.fromisoformat(first["ended"])
        assert waited > timedelta(seconds=3)


def test_a_recipient_is_put_off_and_comes_later(make_daemon: MakeDaemon) -> None:
    """Greylisting is the trouble of one recipient, not of the server."""
    with _with(make_daemon, "later") as (daemon, server):
        send(daemon, "alice", f"x@{AWAY}", f"y@{AWAY}")
        wait_until(lambda: len(server.messages) == 2, "both")
        wait_until(lambda: not _waiting(daemon), "an empty queue")


def test_a_server_that_takes_one_message_a_connection_gets_all(make_daemon: MakeDaemon) -> None:
    """A 421 on a used connection is no attempt: nobody waits for it."""
    with _with(make_daemon, "busy", first_retry="1h") as (daemon, server):
        for number in range(6):
            send(daemon, "alice", f"x@{AWAY}", subject=str(number))
        wait_until(lambda: not _waiting(daemon), "an empty queue")
        assert len(server.messages) == 6


@pytest.mark.parametrize("outbound", [{"tls": "verified"}, {"tls": "required"}])
def test_without_tls_nothing_leaves_that_needs_it(
    make_daemon: MakeDaemon, outbound: dict[str, str]
) -> None:
    """It waits, and the reason stands there."""
    with _with(make_daemon, "none", first_retry="1h", **outbound) as (daemon, server):
        send(daemon, "alice", f"x@{AWAY}")
        _tried(daemon)
        assert "offers no TLS" in _waiting(daemon)[0]["reply"]
        assert not [one for one in server.commands if one.startswith(b"MAIL")]


def test_a_server_that_bears_few_connections_gets_all(make_daemon: MakeDaemon) -> None:
    """The third one is refused: two go on, and nothing is put off."""
    with _with(make_daemon, "crowded", first_retry="1h") as (daemon, server):
        assert daemon.mailctl("settings", "set", "outbound.relay", "users").status == 0
        for number in range(40):
            send(daemon, "alice", f"x@{AWAY}", subject=str(number))
        wait_until(lambda: not _waiting(daemon), "an empty queue")
        assert len(server.messages) == 40


def test_a_dead_postmaster_makes_no_circle(make_daemon: MakeDaemon) -> None:
    """His mail goes elsewhere, and comes back: reports about it stay at home, or end."""
    with _with(make_daemon, "deaf") as (daemon, server):
        assert daemon.mailctl("forward", "set", "admin", f"x@{AWAY}").status == 0
        with closing(daemon.smtp()) as client:
            client.ehlo()
            client.mail("")
            client.rcpt("admin@test.com")
            client.data("Subject: round\r\n\r\nx\r\n")
        wait_until(lambda: server.commands, "an attempt")
        wait_until(lambda: not _waiting(daemon), "an empty queue")
        time.sleep(2)  # another attempt would have been made
        assert len([one for one in server.commands if one.startswith(b"RCPT")]) == 1
