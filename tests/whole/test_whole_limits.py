"""The whole service holds strangers to the limits of config.yaml."""

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from smtplib import SMTP, SMTPRecipientsRefused, SMTPResponseException, SMTPSenderRefused
from typing import Any

import pytest

from tests.support.daemon import PATIENCE, Daemon, MakeDaemon, wait_until

HERE = "127.0.0.1"


def strict(make_daemon: MakeDaemon, smtp: dict[str, Any] | None = None, **limits: Any) -> Daemon:
    """Start a daemon that spares nobody."""
    settings = {
        "limits": {"exempt": [], **limits},
        "smtp": {"greeting_delay": 0, "tarpit": 0, **(smtp or {})},
    }
    return make_daemon(settings=settings).start()


@contextmanager
def connection(daemon: Daemon, name: str) -> Iterator[bytes]:
    """Hold a connection; gives the first words of the server."""
    with socket.create_connection((HERE, daemon.ports[name]), timeout=PATIENCE) as line:
        yield line.recv(512)


def first_words(daemon: Daemon, name: str) -> bytes:
    """Connect and leave."""
    with connection(daemon, name) as words:
        return words


def test_connections_of_one_client(make_daemon: MakeDaemon) -> None:
    """SMTP and POP3 count together; what ends makes room."""
    daemon = strict(make_daemon, client_connections=3)
    with ExitStack() as stack:
        names = ("mx", "submission", "pop3")

        def all_get_in() -> bool:
            words = [stack.enter_context(connection(daemon, name)) for name in names]
            if all(one.startswith((b"220", b"+OK")) for one in words):
                return True
            stack.close()
            return False

        # The daemon may still hold the connections that asked for its greetings.
        wait_until(all_get_in, "three places")

        assert first_words(daemon, "mx").startswith(b"421 4.7.0 Too many connections from your")
        assert first_words(daemon, "pop3").startswith(b"-ERR [SYS/TEMP] too many connections")
    wait_until(lambda: first_words(daemon, "mx").startswith(b"220"), "a free place")


def test_new_connections_of_one_client(make_daemon: MakeDaemon) -> None:
    """Who comes too often is refused, and served again after a while."""
    daemon = strict(make_daemon, client_connection_rate="10/5s")
    words = [first_words(daemon, "mx") for _ in range(20)]

    assert words[0].startswith(b"220")
    assert words[-1].startswith(b"421 4.7.0")
    wait_until(lambda: first_words(daemon, "mx").startswith(b"220"), "a greeting again")


def test_messages_and_recipients_of_one_client(make_daemon: MakeDaemon) -> None:
    """What is too much gets a 4xx, which a server tries again later."""
    daemon = strict(make_daemon, client_messages="2/1h", client_recipients="3/1h")
    with daemon.smtp() as client:
        client.sendmail("x@a.example", ["alice@test.com"], "Subject: 1\r\n\r\n")
        refused = client.sendmail("x@a.example", ["alice@test.com", "bob@test.com"] * 2, "hi")
        assert {code for code, _ in refused.values()} == {450}

        with pytest.raises(SMTPSenderRefused) as error:
            client.sendmail("x@a.example", ["alice@test.com"], "Subject: 3\r\n\r\n")

    assert error.value.smtp_code == 451
    assert b"Too many messages from your address" in error.value.smtp_error


def test_messages_and_recipients_of_one_login(make_daemon: MakeDaemon) -> None:
    """A stolen password sends little; other users go on."""
    daemon = strict(make_daemon, login_messages="2/1h", login_recipients="2/1h")
    letter = "From: alice@test.com\r\nSubject: hi\r\n\r\n"
    with daemon.submission("alice") as client:
        client.sendmail("alice@test.com", ["bob@test.com", "alice@test.com"], letter)
        with pytest.raises(SMTPRecipientsRefused):
            client.sendmail("alice@test.com", ["bob@test.com"], letter)
        with pytest.raises(SMTPSenderRefused):
            client.sendmail("alice@test.com", ["bob@test.com"], letter)

    with daemon.submission("bob") as client:
        client.sendmail("bob@test.com", ["alice@test.com"], letter.replace("alice", "bob"))


def test_who_ends_only_its_own_side_hears_every_answer(daemon: Daemon) -> None:
    """As ``socat`` does with a file: the mail is taken, and shown."""
    sent = _all_at_once(
        daemon,
        "mx",
        b"EHLO here\r\nMAIL FROM:<x@example.org>\r\nRCPT TO:<bob@test.com>\r\nDATA\r\n"
        b"Subject: half\r\n\r\nx\r\n.\r\n",
    )
    assert re.findall(rb"^([0-9]{3}) ", sent, re.MULTILINE) == [
        b"220",
        *[b"250"] * 3,
        b"354",
        b"250",
    ]

    password = daemon.passwords["bob"].encode()
    told = _all_at_once(
        daemon, "pop3", b"USER bob@test.com\r\nPASS %b\r\nSTAT\r\nRETR 1\r\nNOOP\r\n" % password
    )
    assert told.count(b"+OK") == 6
    assert b"Subject: half\r\n" in told
    wait_until(lambda: daemon.pop3("bob").quit(), "the way into the maildrop", 5)


def test_who_ends_its_own_side_before_tls_is_not_waited_for(daemon: Daemon) -> None:
    """Nobody can agree to anything any more."""
    told = _all_at_once(daemon, "pop3", b"STLS\r\n")
    assert told.count(b"+OK") == 2


def _all_at_once(daemon: Daemon, name: str, commands: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", daemon.ports[name]), timeout=20) as line:
        line.sendall(commands)
        line.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: line.recv(65_536), b""))


def test_a_client_that_talks_before_the_greeting(make_daemon: MakeDaemon) -> None:
    """It gets nothing but a refusal; a polite one gets its greeting."""
    daemon = strict(make_daemon, {"greeting_delay": 1})
    with socket.create_connection((HERE, daemon.ports["mx"]), timeout=PATIENCE) as line:
        line.sendall(b"EHLO spam.example\r\n")
        heard = b"".join(iter(lambda: line.recv(512), b""))

    assert heard.startswith(b"554 5.5.1 You must wait for the greeting")
    assert heard.count(b"\r\n") == 1
    with SMTP(HERE, daemon.ports["mx"], timeout=PATIENCE) as client:
        assert client.noop()[0] == 250


def test_a_client_of_an_exempt_network_has_no_limit(make_daemon: MakeDaemon) -> None:
    """This machine is exempt when config.yaml does not say otherwise."""
    limits = {"client_connections": 1, "client_connection_rate": "1/1h", "client_messages": "1/1h"}
    daemon = make_daemon(settings={"limits": limits}).start()
    try:
        with daemon.smtp() as one, daemon.smtp() as two:
            for client in (one, two, one):
                client.sendmail("x@a.example", ["alice@test.com"], "Subject: hi\r\n\r\n")
    except SMTPResponseException as error:
        pytest.fail(str(error))
