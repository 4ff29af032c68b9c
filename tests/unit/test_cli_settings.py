"""``mailctl settings`` and ``service``, from the command line to the database."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from twisted.internet.task import Clock

from mailsvc.cli.main import program
from mailsvc.cli.place import Doors
from mailsvc.config.settings import Settings
from mailsvc.errors import CommandError, StorageFailed
from mailsvc.service.live import EVERY, LiveSettings
from mailsvc.store.schema import transact
from mailsvc.store.settings import write_setting
from tests.support.control_line import talk_in_memory
from tests.support.control_office import Office, finish, open_office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Give an administration."""
    with open_office(tmp_path) as opened:
        yield opened


def _run(office: Office, *arguments: str) -> Result:
    doors = Doors(talk=talk_in_memory(office.administration, office.clock))
    return CliRunner().invoke(program, ("--socket", "/in/memory", *arguments), obj=doors)


def _json(office: Office, *arguments: str) -> Any:
    done = _run(office, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_setting_is_changed_and_taken_back(office: Office) -> None:
    """It is told where it comes from, and what would count without the change."""
    set_ = _json(office, "settings", "set", "smtp.most_errors", "7")

    assert (set_["value"], set_["without_change"], set_["from"]) == (7, 20, "mailctl")
    assert set_["changed_by"] is not None
    assert office.live.current.smtp.most_errors == 7
    assert _run(office, "settings", "get", "smtp.most_errors").stdout == "7\n"
    assert "smtp.tarpit: 1s\n" in _run(office, "settings", "get", "smtp").stdout
    assert [one["name"] for one in _json(office, "settings", "list", "--changed")] == [
        "smtp.most_errors"
    ]
    assert "change was taken back" in _run(office, "settings", "reset", "smtp").stdout
    assert office.live.current == Settings()
    assert "Nothing was changed" in _run(office, "settings", "list", "--changed").stdout


def test_the_whole_list_comes_in_pages(office: Office) -> None:
    """All settings of config.yaml are in it, each once."""
    names = [one["name"] for one in _json(office, "settings", "list")]

    assert len(names) == len(set(names)) > 80
    assert {"state", "smtp.tarpit", "listeners.mx.port", "log.keep"} <= set(names)
    assert "config.yaml" not in _run(office, "settings", "list", "smtp").stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("set", "smtp.most_errors", "many"), "valid integer"),
        (("set", "smtp.most_error", "7"), 'did you mean "smtp.most_errors"?'),
        (("set", "smtp.tarpit", "-3s"), "'-3s' is not possible"),
        (("set", "smtp", "{}"), "is a section"),
        (("set", "imap.port", "7"), "there is no such setting"),
        (("set", "state", "/here"), "at the start only"),
        (("set", "smtp.tarpit", "{a"), "not YAML"),
        (("set", "smtp.tarpit", "x" * 5000), "characters at most"),
        (("get", "smtp.nothing"), "no setting"),
        (("list", "nothing"), "no setting"),
        (("reset", "smtp"), "nothing was changed"),
    ],
)
def test_mistakes_are_told(office: Office, arguments: tuple[str, ...], told: str) -> None:
    """And nothing is changed."""
    done = _run(office, "settings", *arguments)

    assert done.exit_code == 1
    assert told in done.stderr
    assert office.live.current == Settings()


def test_a_part_that_refuses_keeps_all_as_it_was(office: Office) -> None:
    """A port that is taken, for example: nothing is remembered."""

    @asynccontextmanager
    async def refuse(settings: Settings) -> AsyncIterator[None]:
        raise CommandError(f"port {settings.listeners['mx'].port} is taken")
        yield

    office.live.careful.append(refuse)
    done = _run(office, "settings", "set", "listeners.mx.port", "26")

    assert (done.exit_code, done.stderr) == (1, "mailctl: port 26 is taken\n")
    assert office.live.current == Settings()
    assert "Nothing was changed" in _run(office, "settings", "list", "--changed").stdout


def test_what_cannot_be_written_down_does_not_count(office: Office) -> None:
    """Otherwise the next start would bring a surprise."""
    went_over: list[bool] = []

    @asynccontextmanager
    async def ready(_: Settings) -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            went_over.append(False)
            raise
        went_over.append(True)

    office.live.careful.append(ready)
    assert _run(office, "settings", "set", "smtp.most_errors", "5").exit_code == 0
    run = office.database.run
    office.database.broken = StorageFailed()
    office.database.run = lambda *_: _rows()  # type: ignore[method-assign, assignment]
    done = _run(office, "settings", "set", "smtp.most_errors", "7")
    office.database.run, office.database.broken = run, None  # type: ignore[method-assign]

    assert done.exit_code == 1
    assert went_over == [True, False]
    assert office.live.current.smtp.most_errors == 5


async def _rows() -> dict[str, Any]:
    return {}


def _live(office: Office, clock: Clock, now: datetime) -> LiveSettings:
    start = clock.seconds()

    def tell() -> datetime:
        return now + timedelta(seconds=clock.seconds() - start)

    live = LiveSettings(office.database, clock, Settings(), tell)
    live.floor = office.switchboard
    live.startService()
    return live


def test_the_change_of_another_node_counts_here(office: Office) -> None:
    """After a few seconds; so does its end."""
    clock = Clock()
    live = _live(office, clock, datetime.now(UTC))
    told: list[Settings] = []
    live.followers.append(told.append)

    transact(office.engines, write_setting, "config.smtp.most_errors", 9, "them")
    clock.advance(EVERY)
    assert [one.smtp.most_errors for one in told] == [9]

    transact(office.engines, write_setting, "config.gone.setting", 9, "them")
    clock.advance(EVERY)
    assert list(live.left_out) == ["gone.setting"]
    assert live.current.smtp.most_errors == 9
    _ = live.stopService()


def test_what_cannot_be_now_is_tried_again(office: Office) -> None:
    """Another node has moved a listener to a port that somebody has here."""
    clock = Clock()
    live = _live(office, clock, datetime.now(UTC))
    taken = [True]

    @asynccontextmanager
    async def refuse(_: Settings) -> AsyncIterator[None]:
        if taken:
            raise CommandError("port 26 is taken")
        yield

    live.careful.append(refuse)
    transact(office.engines, write_setting, "config.listeners.mx.port", 26, "them")
    clock.advance(EVERY)
    assert live.current.listeners["mx"].port == 2525
    taken.clear()
    clock.advance(EVERY)
    assert live.current.listeners["mx"].port == 26
    _ = live.stopService()


def test_a_database_that_is_away_stops_no_clock(office: Office) -> None:
    """A service that was stopped for a time starts when its time has come."""
    clock, now = Clock(), datetime.now(UTC)
    live = _live(office, clock, now)
    switch = office.administration.services.switch
    finish(switch("smtp", running=False, by="uid 7", span=timedelta(seconds=60)))
    clock.advance(EVERY)
    assert not office.switchboard.running("smtp")

    office.database.broken = StorageFailed()
    for _ in range(40):
        clock.advance(EVERY)

    assert office.switchboard.running("smtp")
    _ = live.stopService()


def test_services_are_switched_from_the_command_line(office: Office) -> None:
    """For a time, and one listener at a time."""
    stopped = _run(office, "service", "stop", "smtp", "--for", "2h")
    assert "smtp is stopped until" in stopped.stdout
    assert "then it starts by itself" in stopped.stdout
    listed = {one["name"]: one for one in _json(office, "service", "list")}
    assert [name for name, one in listed.items() if one["running"]] == ["pop3"]
    assert listed["mx"]["until"] is not None
    assert "stopped until" in _run(office, "service", "list").stdout
    assert _run(office, "service", "start", "mx").stdout == "mx is running.\n"
    assert (
        "service start listeners.pop3" in _run(office, "service", "stop", "listeners.pop3").stdout
    )
    assert [one["name"] for one in _json(office, "service", "list") if one["running"]] == ["mx"]
    assert _run(office, "service", "start", "imap").exit_code == 1
    assert _run(office, "service", "stop", "smtp", "--for", "0s").exit_code == 2
