"""Daemons with their own databases and domains send each other mail."""

import os
from contextlib import closing
from pathlib import Path
from smtplib import SMTPDataError
from typing import Any

import dkim  # type: ignore[import-untyped]
import pytest
from twisted.names import dns

from tests.support.certificates import make_certificate
from tests.support.daemon import Daemon, MakeDaemon, free_ports, require, wait_until
from tests.support.name_server import serving
from tests.support.neighbours import QUICK, arrives, maildrop, neighbours, send, subjects


def test_two_daemons_write_to_each_other(make_daemon: MakeDaemon) -> None:
    """Over TLS, octet for octet, each trace on top; no Return-Path of the first is left."""
    north, south = (one.start() for one in neighbours(make_daemon, "north.test", "south.test"))
    send(north, "alice", "bob@south.test", subject="to the south")
    send(south, "bob", "alice@north.test", "alice@south.test", subject="to both")

    arrives(south, "bob", "to the south")
    arrives(north, "alice", "to both")
    arrives(south, "alice", "to both")
    [got] = maildrop(south, "bob")
    assert got.startswith(b"Return-Path: <alice@north.test>\r\nReceived: from mail.north.test")
    assert got.count(b"Return-Path") == 1
    assert got.count(b"Received:") == 2
    assert b"ESMTPS" in got
    assert "你好\r\n.\r\nlast line".encode() in got or b"5L2g5aW9" in got
    assert north.mailctl("status", "--json").status == 0


def test_a_server_that_was_away_gets_its_mail(make_daemon: MakeDaemon) -> None:
    """Once, and each message, whether it waited or came later."""
    north, south = neighbours(make_daemon, "north.test", "south.test")
    north.start()
    for number in range(3):
        send(north, "alice", "bob@south.test", subject=f"early {number}")
    south.start()
    send(north, "alice", "bob@south.test", subject="late")

    arrives(south, "bob", "early 0", "early 1", "early 2", "late")


def test_what_nobody_wants_comes_back(make_daemon: MakeDaemon) -> None:
    """With the words of the other server, and the header."""
    north, south = (one.start() for one in neighbours(make_daemon, "north.test", "south.test"))
    send(north, "alice", "nobody@south.test", "bob@south.test", subject="half good")

    arrives(south, "bob", "half good")
    arrives(north, "alice", "Your message could not be delivered")
    [report] = maildrop(north, "alice")
    assert report.startswith(b"Return-Path: <>\r\n")
    assert b"Auto-Submitted: auto-replied" in report
    assert (
        b"Final-Recipient: rfc822; nobody@south.test\r\nAction: failed\r\nStatus: 5.1.1" in report
    )
    assert b"Remote-MTA: dns; 127.0.0.1" in report
    assert b"Subject: half good" in report
    assert b"bob@south.test" not in report.partition(b"rfc822-headers")[0]


def test_mail_for_ourselves_goes_in_no_circle(make_daemon: MakeDaemon) -> None:
    """A way that leads back is cut, and the sender told."""
    [north] = neighbours(make_daemon, "north.test")
    north.settings["outbound"]["routes"] = {
        "me": {"domains": ["other.test"], "host": "127.0.0.1", "port": north.ports["mx"]}
    }
    north.write_settings()
    north.start()
    send(north, "alice", "bob@other.test", subject="round")

    arrives(north, "alice", "Your message could not be delivered")
    assert b"this is a loop" in maildrop(north, "alice")[0]


def test_a_forward_leads_to_another_server(make_daemon: MakeDaemon) -> None:
    """With a copy at home, or none; a group has members anywhere."""
    north, south = (one.start() for one in neighbours(make_daemon, "north.test", "south.test"))
    assert north.mailctl("forward", "set", "alice", "bob@south.test", "alice").status == 0
    done = north.mailctl("group", "add", "all@north.test", "bob", "alice@south.test")
    assert done.status == 0, done.errors
    with closing(south.smtp()) as client:
        client.quit()
    send(south, "alice", "alice@north.test", subject="forwarded")
    send(north, "bob", "all@north.test", subject="to all")

    arrives(south, "bob", "forwarded")
    arrives(north, "alice", "forwarded")
    arrives(south, "alice", "to all")
    arrives(north, "bob", "to all")
    assert b"Return-Path: <alice@south.test>" in maildrop(south, "bob")[0]


def test_what_leaves_is_signed(make_daemon: MakeDaemon) -> None:
    """With every key that signs; another program finds it good, by what the domain publishes."""
    north, south = (one.start() for one in neighbours(make_daemon, "north.test", "south.test"))
    assert north.mailctl("dkim", "add", "north.test").output.count("_domainkey") == 2
    records = {
        one["name"].encode(): one["value"].encode()
        for one in north.mailctl("dns", "north.test", "--json").parsed
    }
    assert records[b"north.test."].startswith(b"v=spf1")
    send(north, "alice", "bob@south.test", "bob@north.test", subject="signed")
    arrives(south, "bob", "signed")
    arrives(north, "bob", "signed")

    [got] = maildrop(south, "bob")
    assert got.count(b"DKIM-Signature:") == 2
    checker = dkim.DKIM(got)
    for index in range(2):
        assert checker.verify(index, dnsfunc=lambda name, **_: records[name])
    send(north, "bob", "alice@north.test", subject="stays here")
    arrives(north, "alice", "stays here")
    assert b"DKIM-Signature" not in maildrop(north, "alice")[0]


def test_bounces_find_the_sender_of_forwarded_mail(make_daemon: MakeDaemon) -> None:
    """By SRS: the next server sees an address of the forwarder, and a bounce comes back."""
    made = neighbours(
        make_daemon, "north.test", "south.test", "west.test", outbound={"forwarding": "srs"}
    )
    north, south, west = (one.start() for one in made)
    assert north.mailctl("alias", "add", "away@north.test", "bob@south.test").status == 0
    assert north.mailctl("alias", "add", "gone@north.test", "nobody@south.test").status == 0
    send(west, "alice", "away@north.test", subject="forwarded")
    send(west, "alice", "gone@north.test", subject="in vain")

    arrives(south, "bob", "forwarded")
    assert b"west.test=alice@north.test>" in maildrop(south, "bob")[0].partition(b"\r\n")[0]
    # The forwarder tells the sender by the rewritten address, which leads back to west.
    arrives(west, "alice", "Your message could not be delivered")
    with closing(north.smtp()) as client:
        client.ehlo()
        client.mail("")
        assert client.rcpt("SRS0=AAAAAA=AA=west.test=alice@north.test")[0] == 550


def test_nobody_sends_more_than_a_day_allows(make_daemon: MakeDaemon) -> None:
    """To other servers; owner and administrator hear of it once, mail at home is free."""
    made = neighbours(
        make_daemon,
        "north.test",
        "south.test",
        outbound={"daily_messages": 3, "daily_new_recipients": 2},
    )
    north, south = (one.start() for one in made)
    send(north, "alice", "bob@south.test", "alice@south.test", subject="both are new")
    for _ in range(2):
        with pytest.raises(SMTPDataError, match="as much as you may in a day"):
            send(north, "alice", "admin@south.test", subject="one too many")
    send(north, "alice", "bob@south.test", subject="known")
    send(north, "alice", "bob@north.test", subject="at home")
    send(north, "alice", "bob@south.test", subject="the third")
    with pytest.raises(SMTPDataError):
        send(north, "alice", "bob@south.test", subject="the fourth")
    assert north.mailctl("user", "set", "alice", "--daily-messages", "none").status == 0
    send(north, "alice", "bob@south.test", subject="the fifth")

    arrives(south, "bob", "both are new", "known", "the third", "the fifth")
    notice = "Mail of alice@north.test to other servers is put off until tomorrow"
    arrives(north, "alice", notice)
    arrives(north, "admin", notice)
    shown = north.mailctl("user", "show", "alice").output
    assert "any number of messages" in shown


def test_nobody_relays_without_a_login(make_daemon: MakeDaemon) -> None:
    """Not on the port for other servers; and nobody at all, when that is set."""
    north, _ = neighbours(make_daemon, "north.test", "south.test")
    north.start()
    with closing(north.smtp()) as client:
        client.ehlo()
        client.mail("alice@north.test")
        assert client.rcpt("bob@south.test")[0] == 550
    assert north.mailctl("settings", "set", "outbound.relay", "nobody").status == 0
    with closing(north.submission("alice")) as client:
        client.mail("alice@north.test")
        assert client.rcpt("bob@south.test")[0] == 550


def test_three_daemons_and_one_is_killed(make_daemon: MakeDaemon) -> None:
    """Each message arrives at each of them."""
    made = [*neighbours(make_daemon, "north.test", "south.test", "west.test")]
    north, south, west = (one.start() for one in made)
    south.kill()
    for number in range(5):
        send(north, "alice", "bob@south.test", "bob@west.test", subject=f"number {number}")
    arrives(west, "bob", *(f"number {number}" for number in range(5)))
    north.kill()
    north.start()
    south.start()
    arrives(south, "bob", *(f"number {number}" for number in range(5)))
    assert subjects(west, "bob") == [f"number {number}" for number in range(5)] or sorted(
        subjects(west, "bob")
    ) == [f"number {number}" for number in range(5)]


def test_a_stop_loses_nothing(make_daemon: MakeDaemon) -> None:
    """Mail that is on its way is finished, what waits leaves after the next start."""
    north, south = (one.start() for one in neighbours(make_daemon, "north.test", "south.test"))
    for number in range(20):
        send(north, "alice", "bob@south.test", subject=f"{number}")
    assert north.stop() == 0
    north.start()
    arrives(south, "bob", *map(str, range(20)))


def test_dns_shows_the_way(make_daemon: MakeDaemon) -> None:
    """MX to a server at port 25; null MX and no domain come back, silence waits."""
    require(os.geteuid() == 0, "port 25 is for root")
    zone: dict[str, list[Any] | None] = {
        "south.test": [dns.Record_MX(10, "mail.south.test")],
        "mail.south.test": [dns.Record_A("127.0.0.77")],
        "null.test": [dns.Record_MX(0, "")],
        "us.test": [dns.Record_MX(5, "mail.us.test")],
        "mail.us.test": [dns.Record_A("127.0.0.77")],
        "silent.test": None,
    }
    south = make_daemon(settings={"hostname": "mail.south.test"})
    south.settings["first_run"] = {"domain": "south.test"}
    south.domain = "south.test"
    south.settings["listeners"]["real"] = {"kind": "smtp", "address": "127.0.0.77", "port": 25}
    south.write_settings()
    south.start()
    with serving(zone) as port:
        north = make_daemon(settings={"outbound": {"dns": [f"127.0.0.1:{port}"]}}).start()
        for name in ("south", "null", "nowhere", "silent"):
            send(north, "alice", f"bob@{name}.test", subject=f"to {name}")
        arrives(south, "bob", "to south")
        failed = "Your message could not be delivered"
        arrives(north, "alice", failed, failed)
        reports = b"".join(maildrop(north, "alice"))
        assert b"null.test takes no mail (null MX, RFC 7505)" in reports
        assert b"there is no domain nowhere.test" in reports
        waiting = north.mailctl("queue", "list", "--json").parsed
        assert [one["recipient"] for one in waiting] == ["bob@silent.test"]
        # Whoever has our name is us.
        assert north.mailctl("settings", "set", "hostname", "mail.south.test").status == 0
        send(north, "bob", "bob@us.test", subject="round")
        arrives(north, "bob", failed)
        assert b"this is a loop" in maildrop(north, "bob")[0]


def test_only_a_good_certificate_is_verified(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    """Of the right name, from an authority that this machine trusts; the login stays secret."""
    files = make_certificate(tmp_path, "localhost")
    named = {"certificate": str(files.certificate), "key": str(files.key)}
    [port] = free_ports(1)
    south = make_daemon(settings={"hostname": "mail.south.test", "tls": {"certificates": [named]}})
    south.settings["listeners"]["tls"] = {"kind": "submission", "port": port, "tls": "implicit"}
    south.write_settings()
    south.start()
    way = {
        "domains": ["*"],
        "host": "localhost",
        "port": port,
        "tls": "verified",
        "implicit": True,
        "user": "bob@test.com",
        "password": south.passwords["bob"],
    }
    outbound = {**QUICK, "routes": {"provider": way}, "forwarding": "keep"}
    north = make_daemon(
        settings={"outbound": outbound, "first_run": {"domain": "north.test"}},
        prefix=("env", f"SSL_CERT_FILE={files.certificate}"),
    ).start()
    send(north, "alice", "alice@test.com", subject="as a customer")
    # The provider takes the customer's own address only: our sender is refused, by name.
    arrives(north, "alice", "Your message could not be delivered")
    assert b"not an address of the account that is logged in" in maildrop(north, "alice")[0]
    shown = north.mailctl("settings", "list", "outbound").output
    assert south.passwords["bob"] not in shown
    assert "***" in shown

    other = make_daemon(settings={"outbound": outbound, "first_run": {"domain": "west.test"}})
    other.start()
    send(other, "alice", "alice@test.com", subject="not trusted")
    wait_until(lambda: _replies(other), "an attempt")
    assert "certificate verify failed" in _replies(other)[0]
    assert not [one for one in subjects(south, "alice") if one]


def _replies(daemon: Daemon) -> list[str]:
    found = daemon.mailctl("queue", "list", "--json").parsed
    return [one["reply"] for one in found if one["reply"]]
