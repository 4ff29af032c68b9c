"""Administrators on other machines: who gets in, and for how long."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.logger import capturedLogs

from mailsvc.control.client.trust import PORT, Remote, parse_place, trust
from mailsvc.control.commands.base import Forbidden
from mailsvc.control.connection import HELLO_LIMIT, IDLE_LIMIT, MOST_OF_STRANGERS
from mailsvc.errors import CommandError, ConfigError
from mailsvc.model.account import Role, Switch
from mailsvc.model.envelope import Client
from mailsvc.model.user import NewUser, UserSwitch
from tests.support.control_line import Line
from tests.support.control_office import Office, finish, open_office

AFAR = Client("192.0.2.7", 4000)
OWN = b"admin's own"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Open an office for one test."""
    with open_office(tmp_path) as opened:
        yield opened


def _line(office: Office, client: Client = AFAR) -> Line:
    return Line(office.administration, office.clock, None, client).greeted()


def test_an_administrator_logs_in_and_commands(office: Office) -> None:
    """The trail names him and where he was."""
    line = _line(office)

    assert str(line.finish(line.client.log_in("admin", OWN))) == "admin@test.com"
    line.finish(line.client.users.add(NewUser(address="bob", password=b"correct horse")))

    page = line.finish(line.client.trail.search(""))
    assert "admin@test.com at 192.0.2.7" in str(page)


def test_nobody_commands_without_a_login(office: Office) -> None:
    """Whoever the kernel of the other machine says he is."""
    line = _line(office)
    with pytest.raises(Forbidden, match="log in first"):
        line.finish(line.client.users.list())
    assert not line.raw.open


def test_users_get_no_further_than_everybody(office: Office) -> None:
    """They register and change their password."""
    new = NewUser(address="bob", password=b"correct horse")
    finish(office.administration.users.add(new, by="x"))
    line = _line(office)

    with pytest.raises(CommandError, match=r"bob@test\.com is no administrator"):
        line.finish(line.client.log_in("bob", b"correct horse"))
    changing = line.client.registration.change_password("bob", b"correct horse", b"green llamas 7")
    assert str(line.finish(changing)) == "bob@test.com"
    with pytest.raises(Forbidden):
        line.finish(line.client.users.list())


def test_guessing_ends_a_connection(office: Office) -> None:
    """And holds up the account, however many connections there are."""
    line = _line(office)
    for _ in range(3):
        with pytest.raises(CommandError, match="wrong"):
            line.finish(line.client.log_in("admin", b"guess"))
    with pytest.raises(Forbidden, match="too many failed logins"):
        line.finish(line.client.log_in("admin", OWN))
    assert not line.raw.open

    for number in range(2):
        line = _line(office, Client(f"192.0.2.{number}", 1))
        with pytest.raises(CommandError, match="wrong"):
            line.finish(line.client.log_in("admin", b"guess"))
    line = _line(office, Client("198.51.100.1", 1))
    with pytest.raises(CommandError, match="wait some minutes"):
        line.finish(line.client.log_in("admin", OWN))


@pytest.mark.parametrize("change", ["role", "password", "disable", "delete"])
def test_a_login_is_good_no_longer_than_its_account(office: Office, change: str) -> None:
    """Each command asks."""
    users = office.administration.users
    new = NewUser(address="second", password=b"correct horse", role=Role.ADMIN)
    finish(users.add(new, by="x"))
    line = _line(office)
    line.finish(line.client.log_in("second", b"correct horse"))
    line.finish(line.client.users.list())

    if change == "role":
        finish(users.set_role("second", Role.USER, by="x"))
    elif change == "password":
        finish(users.set_password("second", b"another one", by="x"))
    elif change == "delete":
        finish(users.delete("second", by="x"))
    else:
        finish(users.switch(UserSwitch(address="second", switch=Switch.ENABLED, on=False), by="x"))

    with pytest.raises(Forbidden, match="may not administrate any more"):
        line.finish(line.client.users.list())
    assert not line.raw.open


def test_a_stranger_fills_no_memory(office: Office) -> None:
    """A box has few values before a login, and the log has the start of a name only."""
    line = _line(office)
    box = {b"_command": b"Register", b"_ask": b"2"}
    line.says({**box, **{b"key%d" % number: b"x" for number in range(MOST_OF_STRANGERS)}})
    assert not line.raw.open

    line = _line(office)
    with capturedLogs() as told, pytest.raises(CommandError, match="wrong"):
        line.finish(line.client.log_in("x" * 60_000, b"guess"))
    assert max(len(str(event.get("user", ""))) for event in told) == 255


def test_whoever_does_nothing_is_sent_away(office: Office) -> None:
    """Soon without a login, and after a while with one."""
    idle = _line(office)
    idle.passes(HELLO_LIMIT)
    assert not idle.raw.open

    line = _line(office)
    line.finish(line.client.log_in("admin", OWN))
    line.passes(IDLE_LIMIT - 1)
    line.finish(line.client.users.list())
    line.passes(IDLE_LIMIT - 1)
    assert line.raw.open
    line.passes(1)
    assert not line.raw.open


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("mail.test.com", "mail.test.com", PORT),
        ("mail.test.com:99", "mail.test.com", 99),
        ("192.0.2.1:99", "192.0.2.1", 99),
        ("2001:db8::1", "2001:db8::1", PORT),
        ("[2001:db8::1]", "2001:db8::1", PORT),
        ("[2001:db8::1]:99", "2001:db8::1", 99),
    ],
)
def test_a_place_is_read(text: str, host: str, port: int) -> None:
    """With a port, or without."""
    found = parse_place(text)
    assert (found.host, found.port) == (host, port)
    assert parse_place(str(found)) == found


@pytest.mark.parametrize("text", ["", ":99", "host:0", "host:x", "host:70000", "host:"])
def test_what_is_no_place_is_told(text: str) -> None:
    """With an example."""
    with pytest.raises(ConfigError, match="7025"):
        parse_place(text)


def test_what_cannot_be_trusted_is_told(tmp_path: Path) -> None:
    """Before anything is opened."""
    with pytest.raises(ConfigError, match="64 hexadecimal digits"):
        trust(Remote("host", fingerprint="abc"))
    with pytest.raises(ConfigError, match="no certificates"):
        trust(Remote("host", ca=tmp_path / "none.pem"))
    trust(Remote("host", fingerprint="AB:" * 31 + "CD"))
