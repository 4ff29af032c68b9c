"""What a sender asks for in the envelope, and what other servers must be able to do."""

import os
import re
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from twisted.names import dns

from tests.support.certificates import make_certificate
from tests.support.daemon import Daemon, MakeDaemon, require, wait_until
from tests.support.name_server import serving
from tests.support.neighbours import (
    arrives,
    attempts,
    last_attempt,
    maildrop,
    neighbours,
    north_with,
    route_to,
    send,
    waiting,
)
from tests.support.odd_server import odd_server

FAILED = "Your message could not be delivered"
DOMAIN, NAME = "例子.测试", "用户"
TEXT = (
    f"From: Alice <alice@north.test>\r\nTo: {NAME}@{DOMAIN}\r\nSubject: 你好, 世界\r\n"
    "Date: Mon, 4 May 2026 00:00:00 +0000\r\nMessage-ID: <utf8@north.test>\r\n"
    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: 8bit\r\nX-Город: Москва\r\n\r\n"
    ".\r\n..\r\n" + "Grüße aus 北京   \r\n" * 20_000 + "\r\n\r\n"
).encode()
"""Of several chunks in the database, with all that is hard to carry."""


# REQUIRETLS; RFC 8689.


def test_required_tls_is_required_of_the_next_server(
    make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    """Over verified TLS; the next server in turn sends nothing on that may go in clear."""
    files = make_certificate(tmp_path, "localhost")
    named = {"certificate": str(files.certificate), "key": str(files.key)}
    with odd_server() as server:
        away = {"away": route_to("away.test", server.port)}
        south = make_daemon(
            settings={"tls": {"certificates": [named]}, "outbound": {"routes": away}}
        )
        south.start()
        assert south.mailctl("forward", "set", "bob", "x@away.test").status == 0
        way = {"domains": ["test.com"], "host": "localhost", "port": south.ports["mx"]}
        north = north_with(make_daemon, way, prefix=("env", f"SSL_CERT_FILE={files.certificate}"))
        to = ("alice@test.com", "bob@test.com")
        send(north, "alice", *to, subject="secret", tls=True, mail_options=["REQUIRETLS"])

        arrives(south, "alice", "secret")
        attempt = last_attempt(north)
        assert attempt["tls"]
        assert any(
            line.startswith("> MAIL FROM:<alice@north.test>") and line.endswith(" REQUIRETLS")
            for line in attempt["conversation"]
        )
        wait_until(lambda: not waiting(south), "the end of what was forwarded")

    assert [one.split()[0] for one in server.commands] == [b"EHLO"]
    assert server.messages == []


@pytest.mark.parametrize(("secure", "status"), [(True, b"5.7.30"), (False, b"5.7.10")])
def test_what_requires_tls_comes_back_from_a_server_without_it(
    make_daemon: MakeDaemon, tmp_path: Path, secure: object, status: bytes
) -> None:
    """At once, whether TLS is missing or only the promise; nothing was said of the message."""
    files = make_certificate(tmp_path, "localhost")
    with odd_server(tls=files if secure else None) as server:
        way = {"domains": ["*"], "host": "localhost", "port": server.port}
        north = north_with(make_daemon, way, prefix=("env", f"SSL_CERT_FILE={files.certificate}"))
        options = ["REQUIRETLS", "RET=FULL"]
        send(north, "alice", "bob@far.test", subject="secret", tls=True, mail_options=options)
        arrives(north, "alice", FAILED)

    [report] = maildrop(north, "alice")
    assert b"Final-Recipient: rfc822; bob@far.test\r\nAction: failed\r\nStatus: " + status in report
    # RFC 8689 section 5: the content does not come back, whatever RET says.
    assert b"text/rfc822-headers" in report
    assert b"Subject: secret" in report
    assert not {one.split()[0] for one in server.commands} & {b"MAIL", b"RCPT", b"DATA"}
    assert waiting(north) == []


def test_an_untrusted_certificate_is_no_required_tls(
    make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    """The mail waits, and other mail goes on."""
    files = make_certificate(tmp_path, "localhost")
    with odd_server(tls=files, offers=("8BITMIME", "REQUIRETLS")) as server:
        way = {"domains": ["*"], "host": "localhost", "port": server.port}
        north = north_with(make_daemon, way)
        send(
            north, "alice", "bob@far.test", subject="secret", tls=True, mail_options=["REQUIRETLS"]
        )
        assert "certificate verify failed" in last_attempt(north)["conversation"][-1]
        send(north, "bob", "bob@far.test", subject="open")
        wait_until(lambda: server.messages, "the other message")

    assert len(waiting(north)) == 1
    assert b"Subject: open" in server.messages[0]


def test_another_server_of_the_domain_may_keep_to_tls(
    make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    """One that does not is passed over; RFC 8689 section 4.2.1."""
    require(os.geteuid() == 0, "port 25 is for root")
    files = make_certificate(tmp_path, "first.south.test", "second.south.test")
    zone: dict[str, list[Any] | None] = {
        "south.test": [
            dns.Record_MX(5, "first.south.test"),
            dns.Record_MX(10, "second.south.test"),
        ],
        "first.south.test": [dns.Record_A("127.0.0.81")],
        "second.south.test": [dns.Record_A("127.0.0.82")],
    }
    named = {"certificate": str(files.certificate), "key": str(files.key)}
    south = make_daemon(
        settings={"first_run": {"domain": "south.test"}, "tls": {"certificates": [named]}}
    )
    south.add_listener("real", {"kind": "smtp", "address": "127.0.0.82", "port": 25})
    south.start()
    with serving(zone) as port, odd_server(address="127.0.0.81", port=25, tls=files) as first:
        trusted = ("env", f"SSL_CERT_FILE={files.certificate}")
        north = north_with(make_daemon, prefix=trusted, dns=[f"127.0.0.1:{port}"])
        options = ["REQUIRETLS"]
        send(north, "alice", "bob@south.test", subject="secret", tls=True, mail_options=options)
        arrives(south, "bob", "secret")

    assert first.connections == 1
    assert first.messages == []


# SMTPUTF8 and CHUNKING; RFC 6531, RFC 3030.


def test_utf8_travels_octet_for_octet(make_daemon: MakeDaemon) -> None:
    """Address, header and text, in one BDAT between two daemons."""
    south = make_daemon(settings={"first_run": {"domain": DOMAIN, "users": ["alice"]}}).start()
    south.passwords[NAME] = "correct horse"
    made = south.mailctl(
        "user", "add", f"{NAME}@{DOMAIN}", "--password-stdin", given="correct horse\n"
    )
    assert made.status == 0, made.errors
    north = north_with(make_daemon, route_to(DOMAIN, south.ports["mx"]))
    with closing(north.submission("alice")) as client:
        options = ["SMTPUTF8", "BODY=8BITMIME"]
        client.sendmail("alice@north.test", [f"{NAME}@{DOMAIN}"], TEXT, options)
        client.quit()

    wait_until(lambda: maildrop(south, NAME), "the message")
    [got] = maildrop(south, NAME)
    trace = (got + b"\r\n").removesuffix(TEXT)
    fields = trace.replace(b"\r\n\t", b" ").split(b"\r\n")
    assert [one.partition(b":")[0] for one in fields] == [
        b"Return-Path",
        b"Received",
        b"Received",
        b"",
    ]
    assert b"with UTF8SMTPS id" in fields[1]
    said = last_attempt(north)["conversation"]
    assert any(line.startswith("> BDAT ") and line.endswith(" LAST") for line in said)
    assert any(line.startswith("> MAIL") and line.endswith(" SMTPUTF8") for line in said)
    assert waiting(north) == []


def test_utf8_comes_back_from_a_server_without_it(make_daemon: MakeDaemon) -> None:
    """With a clear reason; nothing of it was sent, and what needs no UTF-8 arrives."""
    with odd_server() as server:
        north = north_with(make_daemon, route_to(DOMAIN, server.port))
        with closing(north.submission("alice")) as client:
            options = ["SMTPUTF8", "BODY=8BITMIME"]
            client.sendmail("alice@north.test", [f"{NAME}@{DOMAIN}"], TEXT, options)
            client.quit()
        arrives(north, "alice", FAILED)
        assert server.messages == []
        assert not [one for one in server.commands if one.startswith(b"MAIL")]
        send(north, "bob", "plain@xn--fsqu00a.xn--0zwm56d", subject="no script needed")
        wait_until(lambda: server.messages, "the other message")

    [report] = maildrop(north, "alice")
    assert b"message/global-delivery-status" in report
    assert f"Final-Recipient: utf-8; {NAME}@".encode() in report
    assert b"Status: 5.6.7" in report
    assert b"takes no addresses and header fields in UTF-8 (RFC 6531)" in report
    assert "Subject: 你好, 世界".encode() in report


# DELIVERBY; RFC 2852.


def test_a_deadline_is_passed_on_with_what_is_left_of_it(make_daemon: MakeDaemon) -> None:
    """After the time that the mail has waited here."""
    north, south = neighbours(make_daemon, "north.test", "south.test")
    north.start()
    for mode in ("R", "NT"):
        send(north, "alice", "bob@south.test", subject=mode, mail_options=[f"BY=600;{mode}"])
        last_attempt(north)
    south.start()
    arrives(south, "bob", "R", "NT")

    said = _said(north)
    for mode in ("R", "NT"):
        [left] = re.findall(
            rf"> MAIL FROM:<alice@north.test>.* BY=([0-9]+);{mode}$", said, re.MULTILINE
        )
        assert 500 < int(left) < 600


def test_a_deadline_that_a_server_does_not_know_sends_mail_back(make_daemon: MakeDaemon) -> None:
    """With mode R, before anything is said of it."""
    with odd_server() as server:
        north = north_with(make_daemon, route_to("*", server.port))
        send(north, "alice", "bob@far.test", subject="urgent", mail_options=["BY=600;R"])
        arrives(north, "alice", FAILED)

    [report] = maildrop(north, "alice")
    assert b"Action: failed\r\nStatus: 5.3.3" in report
    assert b"does not promise to deliver in time (RFC 2852)" in report
    assert not [one for one in server.commands if one.startswith(b"MAIL")]


def test_a_sender_hears_that_a_server_does_not_know_deadlines(make_daemon: MakeDaemon) -> None:
    """With mode N the mail goes on, and that is the last that anybody tells of it."""
    with odd_server() as server:
        north = north_with(make_daemon, route_to("*", server.port))
        send(north, "alice", "bob@far.test", subject="soon", mail_options=["BY=600;N"])
        arrives(north, "alice", "Your message was passed on")

    [report] = maildrop(north, "alice")
    assert b"Action: relayed\r\nStatus: 2.0.0" in report
    assert b"Subject: soon" in server.messages[0]
    [said] = [one for one in server.commands if one.startswith(b"MAIL")]
    assert b"BY=" not in said


def test_mail_comes_back_at_its_deadline(make_daemon: MakeDaemon) -> None:
    """However long it would be tried otherwise."""
    north, _ = neighbours(make_daemon, "north.test", "south.test", outbound={"first_retry": "1h"})
    north.start()
    send(north, "alice", "bob@south.test", subject="urgent", mail_options=["BY=4;R"])
    arrives(north, "alice", FAILED)

    [report] = maildrop(north, "alice")
    assert b"Action: failed\r\nStatus: 5.4.7" in report
    assert waiting(north) == []


def test_mail_is_not_delivered_behind_its_deadline(make_daemon: MakeDaemon) -> None:
    """A daemon that was down meanwhile sends it back, though the other one would take it."""
    north, south = neighbours(
        make_daemon, "north.test", "south.test", outbound={"first_retry": "1h"}
    )
    north.start()
    late = time.monotonic() + 3
    send(north, "alice", "bob@south.test", subject="urgent", mail_options=["BY=2;R"])
    north.kill()
    south.start()
    wait_until(lambda: time.monotonic() > late, "the deadline")
    north.start()
    arrives(north, "alice", FAILED)

    assert b"Status: 5.4.7" in maildrop(north, "alice")[0]
    assert maildrop(south, "bob") == []


def test_a_sender_hears_that_a_deadline_has_passed(make_daemon: MakeDaemon) -> None:
    """The mail is tried on, and arrives; the next server knows that it is late."""
    north, south = neighbours(make_daemon, "north.test", "south.test")
    north.start()
    send(north, "alice", "bob@south.test", subject="soon", mail_options=["BY=3;N"])
    arrives(north, "alice", "Your message is delayed")
    south.start()
    arrives(south, "bob", "soon")

    [report] = maildrop(north, "alice")
    assert b"Action: delayed" in report
    assert re.search(r"> MAIL FROM:<alice@north.test>.* BY=-[0-9]+;N$", _said(north), re.MULTILINE)


def _said(daemon: Daemon) -> str:
    """Give all conversations with other servers; the last of them is settled."""
    wait_until(lambda: not waiting(daemon), "an empty queue")
    return "\n".join(line for one in attempts(daemon) for line in one["conversation"])
