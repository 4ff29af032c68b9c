"""The same daemon, and two of them, over a database server."""

import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from poplib import error_proto
from socket import create_connection
from typing import Any

import pytest

from tests.support.daemon import Daemon, MakeDaemon, wait_until
from tests.support.database_servers import SERVERS
from tests.support.letters import check_letter, letter
from tests.support.load import Ledger, Load, collected_tokens
from tests.support.neighbours import send
from tests.support.odd_server import odd_server

ALICE, BOB = "alice@test.com", "bob@test.com"
MakeNode = Callable[..., Daemon]


@pytest.fixture(params=SERVERS)
def make_node(request: pytest.FixtureRequest, make_daemon: MakeDaemon) -> MakeNode:
    """Make daemons that share one empty database on a server."""
    url = request.getfixturevalue(request.param).new_database()

    def make(**settings: Any) -> Daemon:
        return make_daemon(settings={"database": {"url": url}, **settings})

    return make


@pytest.fixture
def node(make_node: MakeNode) -> Daemon:
    """Start a daemon on a database that was made for it."""
    daemon = make_node(pop3={"lease": 2})
    assert daemon.mailctl("database", "upgrade").status == 0
    return daemon.start()


@pytest.fixture
def second(make_node: MakeNode, node: Daemon) -> Daemon:
    """Start one more on the same database."""
    daemon = make_node(pop3={"lease": 2})
    daemon.passwords = node.passwords
    return daemon.start()


def test_an_empty_database_is_not_touched_without_being_asked(make_node: MakeNode) -> None:
    """The daemon names the command; after it, the service starts and carries a letter."""
    daemon = make_node()
    refused = daemon.try_to_start()
    assert refused.status != 0
    assert len(refused.errors.splitlines()) == 1
    assert "mailctl database upgrade" in refused.errors
    assert "Traceback" not in refused.output

    upgraded = daemon.mailctl("database", "upgrade")
    assert (upgraded.status, upgraded.errors) == (0, "")
    daemon.start()

    sent = letter(ALICE, BOB)
    client = daemon.submission("alice")
    client.sendmail(ALICE, [BOB], sent)
    client.quit()
    check_letter(collect_one(daemon), sent)
    assert daemon.stop() == 0


def collect_one(daemon: Daemon) -> bytes:
    """Let Bob collect his only message and remove it."""
    client = daemon.pop3("bob")
    assert client.stat()[0] == 1
    lines = client.retr(1)[1]
    client.dele(1)
    client.quit()
    return b"\r\n".join(lines) + b"\r\n"


def test_two_daemons_share_one_mailbox(node: Daemon, second: Daemon) -> None:
    """Both take mail for the same user at the same time; each shows all of it."""
    assert "Their passwords" not in second.output
    loads = [
        Load(one.ports["mx"], f"both{number}", senders=6, most=30).start()
        for number, one in enumerate((node, second))
    ]
    ledger = Ledger()
    for load in loads:
        ledger.add(load.finish())

    assert len(ledger.accepted) == 360
    for one in (node, second):
        client = one.pop3("bob")
        ledger.check(collected_tokens(client))
        with pytest.raises(error_proto, match=r"\[IN-USE\]"):
            (second if one is node else node).pop3("bob")
        client.quit()


def test_a_login_sees_what_was_changed_at_another_node(node: Daemon, second: Daemon) -> None:
    """A new password, a switch, and a user who was not there a moment ago: all at once."""
    for one in (node, second):
        one.pop3("bob").quit()
    old, new = second.passwords["bob"], "quite another horse 7"
    with pytest.raises(error_proto, match=r"\[AUTH\]"):
        _log_in(second, "dora", new)

    assert node.mailctl("user", "passwd", "bob", "--password-stdin", given=new).status == 0
    with pytest.raises(error_proto, match=r"\[AUTH\]"):
        _log_in(second, "bob", old)
    _log_in(second, "bob", new)

    assert node.mailctl("user", "add", "dora", "--password-stdin", given=new).status == 0
    _log_in(second, "dora", new)
    assert node.mailctl("user", "switch", "dora", "pop3", "off").status == 0
    with pytest.raises(error_proto, match="may not use this service"):
        _log_in(second, "dora", new)
    assert node.mailctl("user", "switch", "dora", "pop3", "on").status == 0
    _log_in(second, "dora", new)
    assert node.mailctl("user", "disable", "bob").status == 0
    with pytest.raises(error_proto, match=r"-ERR"):
        _log_in(second, "bob", new)


def _log_in(daemon: Daemon, user: str, password: str) -> None:
    daemon.passwords[user] = password
    daemon.pop3(user).quit()


def test_a_daemon_that_dies_takes_nothing_with_it(node: Daemon, second: Daemon) -> None:
    """Kill -9 of one under load: what it answered with 250 is at the other one."""
    loads = [
        Load(one.ports["mx"], f"dies{number}", senders=6).start()
        for number, one in enumerate((node, second))
    ]
    wait_until(lambda: all(load.accepted > 50 for load in loads), "50 messages each")
    second.kill()
    ledger = loads[1].finish()
    loads[0].stop()
    survived = loads[0].finish()

    assert not survived.refused
    assert not survived.unanswered
    ledger.add(survived)
    client = node.pop3("bob")
    ledger.check(collected_tokens(client))
    client.quit()


def test_a_maildrop_of_a_dead_daemon_is_free_soon(node: Daemon, second: Daemon) -> None:
    """The other daemon lets the user in when the lease has run out, here after 2 seconds."""
    held = second.pop3("bob")
    second.kill()
    held.close()
    began = time.monotonic()

    def enters() -> bool:
        with suppress(error_proto):
            node.pop3("bob").quit()
            return True
        return False

    wait_until(enters, "the end of a lease", seconds=10)
    assert time.monotonic() - began < 5


def test_nodes_share_the_queue(node: Daemon, second: Daemon) -> None:
    """Both send, and each message leaves once."""
    with odd_server("none") as server:
        way = f"{{domains: [away.test], host: 127.0.0.1, port: {server.port}}}"
        assert node.mailctl("settings", "set", "outbound.routes.away", way).status == 0
        time.sleep(2.5)  # the other node looks every two seconds
        for number in range(40):
            for one, user in ((node, "alice"), (second, "bob")):
                send(one, user, "x@away.test", subject=f"{user} {number}")

        def waiting() -> int:
            found: int = second.mailctl("status", "--json").parsed["queue"]["waiting"]
            return found

        wait_until(lambda: not waiting(), "an empty queue")
        sent = [
            line for one in server.messages for line in one.split(b"\r\n") if b"Subject" in line
        ]
        assert len(sent) == len(set(sent)) == 80


def test_octets_that_a_database_does_not_take_harm_nobody(node: Daemon) -> None:
    """PostgreSQL has no NUL: what strangers say is kept with it escaped, and work goes on."""
    with (
        create_connection(("127.0.0.1", node.ports["pop3"]), 30) as line,
        line.makefile("rb") as file,
    ):
        line.sendall(b"AUTH LOGIN\r\n")
        assert file.readline().startswith(b"+OK")
        for words in (b"a\0b", b"wrong"):
            assert file.readline().startswith(b"+ ")
            line.sendall(b64encode(words) + b"\r\n")
        assert file.readline().startswith(b"-ERR [AUTH]")
    with odd_server("rude") as server:
        way = f"{{domains: [away.test], host: 127.0.0.1, port: {server.port}}}"
        assert node.mailctl("settings", "set", "outbound.routes.away", way).status == 0
        send(node, "alice", "x@away.test", subject="to the rude one")
        wait_until(lambda: _number_of_messages(node, "alice") == 1, "the report", seconds=20)

    def told(event: str) -> str:
        rows = node.mailctl("trail", "search", "--event", event, "--json").parsed
        return " ".join(f"{row['from']} {row['detail']}" for row in rows)

    wait_until(lambda: r"a\x00b" in told("login failed"), "the login in the trail")
    assert r"no\x00body" in told("bounced")
    assert not node.mailctl("status", "--json").parsed["queue"]["waiting"]


def _number_of_messages(node: Daemon, user: str) -> int:
    client = node.pop3(user)
    number: int = client.stat()[0]
    client.quit()
    return number
