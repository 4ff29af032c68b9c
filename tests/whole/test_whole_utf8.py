"""Users and domains of any script; RFC 6531, RFC 6532."""

from contextlib import closing
from poplib import POP3
from smtplib import SMTP

import pytest

from tests.support.daemon import Daemon, MakeDaemon

DOMAIN = "例子.测试"
NAME = f"用户@{DOMAIN}"
PASSWORD = "correct horse"


@pytest.fixture
def abroad(make_daemon: MakeDaemon) -> Daemon:
    """Start a daemon whose first domain is not ASCII, with a user whose name is not."""
    settings = {"first_run": {"domain": DOMAIN, "users": ["alice"]}}
    daemon = make_daemon(settings=settings).start()
    made = daemon.mailctl("user", "add", NAME, "--password-stdin", given=f"{PASSWORD}\n")
    assert made.output == f"Made the account {NAME}.\n"
    return daemon


def collect(daemon: Daemon, name: str) -> list[bytes]:
    """Fetch the only message of a user, by a client that sends UTF-8."""
    client = POP3("127.0.0.1", daemon.ports["pop3"])
    client.encoding = "utf-8"
    with closing(client):
        client.user(name)
        client.pass_(PASSWORD)
        return client.retr(1)[1]


def test_such_a_user_gets_mail_and_reads_it(abroad: Daemon) -> None:
    """Under every spelling of the address; people see their own script."""
    with SMTP("127.0.0.1", abroad.ports["mx"]) as client:
        client.ehlo()
        options = ["SMTPUTF8", "BODY=8BITMIME"]
        client.sendmail("eve@example.org", [NAME], "Subject: 你好\r\n\r\n".encode(), options)

    for name in (NAME, "用户@xn--fsqu00a.xn--0zwm56d", "用户"):
        lines = collect(abroad, name)
        assert "Subject: 你好".encode() in lines
        assert b"UTF8SMTP id" in b" ".join(lines)
    listed = abroad.mailctl("user", "list").output
    assert NAME in listed
    assert f"alice@{DOMAIN}" in listed
    assert f"alice@{DOMAIN}" in abroad.output
