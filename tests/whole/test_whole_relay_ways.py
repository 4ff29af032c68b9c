"""
Ways to other servers: IPv6, address literals, and a smart host that wants a login.

Each test with port 25 has an address of its own: tests may run at the same time.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.names import dns

from mailsvc.config.settings import CertificateSettings
from tests.support.certificates import make_certificate
from tests.support.daemon import Daemon, MakeDaemon, free_ports, require, wait_until
from tests.support.name_server import serving
from tests.support.neighbours import (
    arrives,
    last_attempt,
    maildrop,
    north_with,
    route_to,
    send,
    waiting,
)
from tests.support.odd_server import odd_server

PASSWORD = "correct horse"


def test_a_route_leads_over_ipv6(make_daemon: MakeDaemon) -> None:
    """With TLS, as over IPv4; the other server sees who came."""
    [port] = free_ports(1)
    south = make_daemon(settings={"hostname": "mail.south.test"})
    south.add_listener("six", {"kind": "smtp", "address": "::1", "port": port})
    south.start()
    north = north_with(make_daemon, {"domains": ["test.com"], "host": "::1", "port": port})
    send(north, "alice", "bob@test.com", subject="by six")

    arrives(south, "bob", "by six")
    [got] = maildrop(south, "bob")
    assert b"from mail.north.test ([IPv6:::1])" in got
    assert b"ESMTPS" in got
    wait_until(lambda: not waiting(north), "an empty queue")


@pytest.mark.parametrize(
    ("literal", "address"), [("[127.0.0.78]", "127.0.0.78"), ("[IPv6:::1]", "::1")]
)
def test_an_address_literal_needs_no_dns(
    make_daemon: MakeDaemon, literal: str, address: str
) -> None:
    """The mail goes to port 25 there, and the recipient is named as the sender wrote it."""
    require(os.geteuid() == 0, "port 25 is for root")
    with odd_server(address=address, port=25) as server:
        north = north_with(make_daemon, dns=["127.0.0.1:9"])
        send(north, "alice", f"bob@{literal}", subject="by number")
        wait_until(lambda: server.messages, "the message")
        wait_until(lambda: not waiting(north), "an empty queue")

    assert b"Subject: by number" in server.messages[0]
    assert f"RCPT TO:<bob@{literal}>".encode() in server.commands


def test_an_address_literal_is_verified_by_its_address(
    make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    """A certificate for a name is none for it: the mail waits, and is asked for once."""
    require(os.geteuid() == 0, "port 25 is for root")
    files = make_certificate(tmp_path, "localhost")
    with odd_server(address="127.0.0.79", port=25, tls=files) as server:
        north = north_with(make_daemon, tls="verified")
        send(north, "alice", "bob@[127.0.0.79]")
        assert "no TLS with the server" in last_attempt(north)["conversation"][-1]

    assert [one["attempts"] for one in waiting(north)] == [1]
    assert server.connections == 1
    assert server.messages == []


def test_an_odd_name_in_dns_is_asked_for_once(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    """Mail for a server that no certificate can be for waits, for one that is none comes back."""
    require(os.geteuid() == 0, "port 25 is for root")
    zone: dict[str, list[Any] | None] = {
        "octets.test": [dns.Record_MX(10, b"\xff.octets.test")],
        "score.test": [dns.Record_MX(10, "mx_1.score.test")],
        "mx_1.score.test": [dns.Record_A("127.0.0.80")],
    }
    files = make_certificate(tmp_path, "localhost")
    with serving(zone) as port, odd_server(address="127.0.0.80", port=25, tls=files) as server:
        north = north_with(make_daemon, dns=[f"127.0.0.1:{port}"], tls="verified")
        send(north, "alice", "bob@octets.test", "bob@score.test")
        wait_until(lambda: all(one["attempts"] for one in waiting(north)), "attempts")
        assert "a name that no certificate is for" in _last_reply(north)

    arrives(north, "alice", "Your message could not be delivered")
    assert b"no server of octets.test has an address" in maildrop(north, "alice")[0]
    assert server.connections == 1


def _provider(make_daemon: MakeDaemon, files: CertificateSettings) -> Daemon:
    """Start a server with a mailbox for the sender's address, and TLS for submission."""
    named = {"certificate": str(files.certificate), "key": str(files.key)}
    [port] = free_ports(1)
    provider = make_daemon(
        settings={"hostname": "mail.south.test", "tls": {"certificates": [named]}}
    )
    provider.add_listener("tls", {"kind": "submission", "port": port, "tls": "implicit"})
    provider.start()
    assert provider.mailctl("domain", "add", "north.test").status == 0
    add = ("user", "add", "alice@north.test", "--password-stdin")
    made = provider.mailctl(*add, given=f"{PASSWORD}\n")
    assert made.status == 0, made.errors
    return provider


def _customer(
    make_daemon: MakeDaemon, files: CertificateSettings, password: str, **way: Any
) -> Daemon:
    route = {"domains": ["*"], "tls": "verified", "user": "alice@north.test", **way}
    return north_with(
        make_daemon,
        {**route, "host": "localhost", "password": password},
        prefix=("env", f"SSL_CERT_FILE={files.certificate}"),
    )


@pytest.mark.parametrize(("listener", "implicit"), [("tls", True), ("submission", False)])
def test_a_smart_host_takes_mail_after_a_login(
    make_daemon: MakeDaemon, tmp_path: Path, listener: str, implicit: object
) -> None:
    """Over verified TLS, from its first octet or by STARTTLS, as the customer's own user."""
    files = make_certificate(tmp_path, "localhost")
    provider = _provider(make_daemon, files)
    way = {"port": provider.ports[listener], "implicit": implicit}
    north = _customer(make_daemon, files, PASSWORD, **way)
    send(north, "alice", "bob@test.com", subject="as a customer")

    arrives(provider, "bob", "as a customer")
    [got] = maildrop(provider, "bob")
    assert got.startswith(b"Return-Path: <alice@north.test>\r\nReceived: from mail.north.test")
    assert b"with ESMTPSA" in got.replace(b"\r\n\t", b" ").split(b"\r\n")[1]
    said = "\n".join(last_attempt(north)["conversation"])
    assert waiting(north) == []
    assert PASSWORD not in said


def test_a_wrong_password_sends_nothing_back(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    """The mail waits, ``mailctl queue show`` tells why, and with the right one it leaves."""
    files = make_certificate(tmp_path, "localhost")
    provider = _provider(make_daemon, files)
    way = {"port": provider.ports["tls"], "implicit": True}
    north = _customer(make_daemon, files, "wrong horse", **way)
    send(north, "alice", "bob@test.com", subject="late")
    last_attempt(north)

    [row] = waiting(north)
    shown = north.mailctl("queue", "show", row["message"]).output
    assert "    localhost: the server answers our login with 535 5.7.8" in shown
    assert "later by localhost" in shown
    assert "> AUTH PLAIN (not shown)" in shown
    assert "< 535 5.7.8" in shown
    assert "wrong horse" not in shown
    assert maildrop(north, "alice") == []
    done = north.mailctl("settings", "set", "outbound.routes.way0.password", PASSWORD)
    assert done.status == 0, done.errors
    assert north.mailctl("queue", "retry", "--all").status == 0
    arrives(provider, "bob", "late")


def test_a_provider_is_not_told_a_password_in_clear(make_daemon: MakeDaemon) -> None:
    """A server that offers a login and no TLS gets neither."""
    with odd_server(offers=("AUTH PLAIN LOGIN",)) as server:
        way = route_to("*", server.port, tls="required", user="alice", password="secret")
        north = north_with(make_daemon, way)
        send(north, "alice", "bob@far.test")
        assert "offers no TLS" in _last_reply(north)

    assert [one.split()[0] for one in server.commands] == [b"EHLO"]


def _last_reply(daemon: Daemon) -> str:
    last_attempt(daemon)
    reply: str = waiting(daemon)[0]["reply"]
    return reply
