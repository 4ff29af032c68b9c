"""Postfix sends us mail, with everything that it and we announce."""

from tests.support.daemon import Daemon, MakeDaemon, free_ports
from tests.support.neighbours import arrives, send
from tests.support.postfix_peer import postfix_peer

MAIL = (
    b"From: x@a.example\r\nTo: bob@test.com\r\nSubject: from Postfix\r\n\r\n.dots\r\n..\r\nend\r\n"
)


def newest(daemon: Daemon, user: str = "bob") -> bytes:
    """Fetch the last message of a user."""
    client = daemon.pop3(user)
    count, _ = client.stat()
    _, lines, _ = client.retr(count)
    client.quit()
    return b"\r\n".join(lines) + b"\r\n"


def test_postfix_sends_over_starttls(daemon: Daemon) -> None:
    """Encrypted, several recipients at once; the trace field names protocol and cipher."""
    with postfix_peer(f"smtp:[127.0.0.1]:{daemon.ports['mx']}", "encrypt") as postfix:
        postfix.send("x@a.example", ["bob@test.com", "alice@test.com"], MAIL)
        log = postfix.log

    assert "TLS connection established to 127.0.0.1" in log
    assert log.count("status=sent (250 2.0.0 OK, stored as") == 2
    for user in ("bob", "alice"):
        got = newest(daemon, user)
        assert got.endswith(b"\r\n\r\n.dots\r\n..\r\nend\r\n")
        assert b"with ESMTPS id" in got
        assert b"tls TLS_" in got


def test_postfix_sends_utf8_addresses(daemon: Daemon) -> None:
    """RFC 6531, from sender to recipient; and a message with UTF-8 in its header fields."""
    password = "correct-horse-9"
    added = daemon.mailctl(
        "user", "add", "用户@test.com", "--password-stdin", given=f"{password}\n"
    )
    assert added.status == 0, added.errors
    daemon.passwords["用户"] = password
    mail = (
        "From: 发件人@例子.example\r\nTo: 用户@test.com\r\nSubject: 你好\r\n\r\n正文\r\n".encode()
    )

    with postfix_peer(f"smtp:[127.0.0.1]:{daemon.ports['mx']}", "may") as postfix:
        postfix.send("发件人@例子.example", ["用户@test.com"], mail, ["SMTPUTF8", "BODY=8BITMIME"])
        assert "status=sent (250 2.0.0 OK, stored as" in postfix.log

    got = newest(daemon, "用户")
    assert "\r\nSubject: 你好\r\n".encode() in got
    assert got.endswith("\r\n\r\n正文\r\n".encode())
    assert b"with UTF8SMTPS id" in got


def test_postfix_hands_over_by_lmtp(make_daemon: MakeDaemon) -> None:
    """Who has a Postfix already can keep it in front; each recipient gets an answer."""
    daemon = make_daemon()
    [port] = free_ports(1)
    daemon.add_listener("lmtp", {"kind": "lmtp", "port": port})
    daemon.start()

    with postfix_peer(f"lmtp:inet:127.0.0.1:{port}", "may") as postfix:
        postfix.send("x@a.example", ["bob@test.com", "nobody@test.com", "alice@test.com"], MAIL)
        log = postfix.log

    assert log.count("status=sent (250 2.0.0 OK, stored as") == 2
    assert log.count("status=bounced") >= 1
    assert b"with LMTPS id" in newest(daemon, "alice")


def test_mail_leaves_through_postfix(make_daemon: MakeDaemon) -> None:
    """As a smart host: from us to Postfix, and from there to another of us; one copy of each."""
    south = make_daemon(settings={"hostname": "south.example"}).start()
    with postfix_peer(f"smtp:[127.0.0.1]:{south.ports['mx']}", "may") as postfix:
        way = {"domains": ["*"], "host": "127.0.0.1", "port": postfix.port}
        north = make_daemon(
            settings={"first_run": {"domain": "north.test"}, "outbound": {"routes": {"out": way}}}
        ).start()
        send(north, "alice", "bob@test.com", "alice@test.com", subject="by a smart host")
        arrives(south, "bob", "by a smart host")
        arrives(south, "alice", "by a smart host")
        assert b"by postfix.example (Postfix)" in newest(south, "bob")
        for number in range(50):
            send(north, "bob", "bob@test.com", subject=f"number {number}")
        arrives(south, "bob", "by a smart host", *(f"number {one}" for one in range(50)))
