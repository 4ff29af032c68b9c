"""``mailctl session``, from the command line to the switchboard."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailsvc.cli.main import program
from mailsvc.cli.place import Doors
from mailsvc.model.session import SessionState
from tests.support.control_line import talk_in_memory
from tests.support.control_office import Office, open_office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Give an administration."""
    with open_office(tmp_path) as office:
        yield office


@pytest.fixture
def busy(office: Office) -> Office:
    """Three sessions are open."""
    office.switchboard.open_sessions = [
        _state(3, "smtp", "smtp", "192.0.2.7", ""),
        _state(4, "pop3s", "pop3", "2001:db8::1", "admin@test.com"),
        _state(12, "submission", "smtp", "192.0.2.9", "admin@test.com"),
        _state(13, "pop3", "pop3", "", ""),
    ]
    return office


def _state(number: int, listener: str, service: str, client: str, user: str) -> SessionState:
    age = timedelta(minutes=2, seconds=number)
    return SessionState(number, listener, service, client, 4711, user, secure=False, age=age)


def _session(office: Office, *arguments: str) -> Result:
    talk = talk_in_memory(office.administration, office.clock)
    doors = Doors(talk=talk, interactive=lambda: False)
    return CliRunner().invoke(program, ("--socket", "/in/memory", "session", *arguments), obj=doors)


def _open(office: Office) -> list[int]:
    return [one.number for one in office.switchboard.open_sessions]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ([], [3, 4, 12, 13]),
        (["--user", "admin"], [4, 12]),
        (["--ip", "192.0.2.0/24"], [3, 12]),
        (["--ip", "2001:db8::1"], [4]),
        (["--listener", "smtp"], [3, 12]),
        (["--listener", "pop3s"], [4]),
        (["--listener", "pop3", "--user", "admin@test.com"], [4]),
        (["--user", "nobody"], []),
    ],
)
def test_sessions_are_listed(busy: Office, options: list[str], numbers: list[int]) -> None:
    """All, or those that the options say."""
    listed = json.loads(_session(busy, "list", *options, "--json").stdout)

    assert [one["number"] for one in listed] == numbers


def test_a_table_tells_who_is_there(busy: Office) -> None:
    """Who has not logged in is a dash."""
    title, first, second, *_ = _session(busy, "list").stdout.splitlines()

    assert title.split() == ["NUMBER", "LISTENER", "CLIENT", "USER", "TLS", "AGE"]
    assert first.split() == "3 smtp 192.0.2.7 port 4711 - no 2 min 3 s".split()  # noqa: SIM905
    assert "admin@test.com" in second


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["3", "12"], [4, 13]),
        (["--user", "admin"], [3, 13]),
        (["--ip", "192.0.2.7"], [4, 12, 13]),
        (["--listener", "pop3"], [3, 12]),
        (["--all"], []),
    ],
)
def test_sessions_are_ended(busy: Office, options: list[str], left: list[int]) -> None:
    """And it tells how many."""
    done = _session(busy, "kill", *options)

    ended = 4 - len(left)
    assert done.stdout == f"Ended {ended} session{'' if ended == 1 else 's'}.\n"
    assert _open(busy) == left


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        ([], 2, "say which sessions"),
        (["--all", "3"], 2, "say which sessions"),
        (["0"], 2, "0"),
        (["99"], 1, "no open session"),
        (["--ip", "here"], 1, "neither an IP address nor a network"),
        (["--user", "@"], 1, "@"),
    ],
)
def test_mistakes_end_nothing(busy: Office, options: list[str], status: int, told: str) -> None:
    """They say what is wrong."""
    refused = _session(busy, "kill", *options)

    assert (refused.exit_code, told in refused.stderr) == (status, True), refused.stderr
    assert len(_open(busy)) == 4
