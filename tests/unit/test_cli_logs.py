"""``mailctl log``; the daemon is in memory."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailsvc.cli.main import program
from mailsvc.cli.place import Doors
from tests.support.control_line import talk_in_memory
from tests.support.control_office import Office, open_office

LINES = [
    json.dumps({"time": f"2026-05-04T12:0{number}:00.000+00:00", "level": level, "text": text})
    for number, (level, text) in enumerate(
        [("info", "one"), ("warn", "two \x1b[31m"), ("info", "three")]
    )
]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Give an administration whose SMTP has written three lines."""
    with open_office(tmp_path) as opened:
        opened.logs.logs["smtp"] = [*LINES]
        yield opened


def _log(office: Office, *arguments: str, asked: bool = False, given: str = "") -> Result:
    talk = talk_in_memory(office.administration, office.clock)
    doors = Doors(talk=talk, interactive=lambda: asked)
    whole = ("--socket", "/in/memory", "log", *arguments)
    return CliRunner().invoke(program, whole, obj=doors, input=given)


def test_lines_are_written_for_people(office: Office) -> None:
    """Nothing commands the terminal."""
    done = _log(office, "search", "smtp")

    assert done.stdout.splitlines() == [
        "2026-05-04 12:00:00 one",
        "2026-05-04 12:01:00 WARN: two \N{REPLACEMENT CHARACTER}[31m",
        "2026-05-04 12:02:00 three",
    ]


def test_programs_get_the_lines_as_they_are(office: Office) -> None:
    """JSON lines."""
    assert _log(office, "search", "smtp", "--json").stdout.splitlines() == LINES


def test_the_last_ones_are_shown(office: Office) -> None:
    """As many as asked for."""
    assert _log(office, "show", "smtp", "-n", "1").stdout == "2026-05-04 12:02:00 three\n"
    assert len(_log(office, "show", "smtp").stdout.splitlines()) == 3
    assert _log(office, "show", "pop3").stdout == ""


def test_what_is_asked_for_reaches_the_daemon(office: Office) -> None:
    """Times are read here; words of all kinds are words."""
    _log(
        office,
        *("search", "smtp", "--since", "2h", "--until", "2026-11-24T10:00", "--level", "warn"),
        *("--account", "a@b.org", "--ip", "192.0.2.7", "--text", "no such"),
    )

    asked = office.logs.asked[0]
    assert asked.words == ("a@b.org", "192.0.2.7", "no such")
    assert asked.until == datetime(2026, 11, 24, 10, tzinfo=UTC)
    assert asked.level == "warn"
    assert asked.since is not None
    ago = datetime.now(UTC) - asked.since
    assert timedelta(hours=2) <= ago < timedelta(hours=2, minutes=5)


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("show", "mail"), 2, "mail"),
        (("show", "smtp", "--since", "yesterday"), 2, "neither 2h (ago)"),
        (("show", "smtp", "--level", "loud"), 2, "loud"),
        (("clear", "smtp"), 2, "say --yes"),
    ],
)
def test_mistakes_are_told(
    office: Office, arguments: tuple[str, ...], status: int, told: str
) -> None:
    """And nothing is removed."""
    refused = _log(office, *arguments)

    assert (refused.exit_code, told in refused.stderr) == (status, True)
    assert office.logs.logs["smtp"] == LINES


def test_a_log_is_cleared_when_it_is_meant(office: Office) -> None:
    """After a question, or without."""
    assert _log(office, "clear", "smtp", asked=True, given="n\n").exit_code == 1
    assert office.logs.logs["smtp"] == LINES

    done = _log(office, "clear", "smtp", "--yes")

    assert (done.exit_code, office.logs.logs["smtp"]) == (0, [])
    assert "is empty" in done.stdout
