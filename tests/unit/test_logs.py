"""The logs: every event is one line, and none keeps the others out."""

import json
from collections.abc import Callable
from datetime import datetime
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from mailsvc.config.settings import LogSettings
from mailsvc.service.logs import BLINK, DELAY, LogFiles, TerminalLog, to_line


def test_text_that_is_no_utf8_is_written_all_the_same(tmp_path: Path) -> None:
    """The name of a file may be any octets; the lines that wait with it are written too."""
    clock, log = Clock(), Logger("mailsvc.smtp.test")
    files = LogFiles(tmp_path, LogSettings(), clock)
    files.start()
    log.info("before")
    log.info("cannot be read: {name}", name="caf\udce9")

    clock.advance(DELAY)
    files.stop()

    lines = (tmp_path / "smtp.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["before", "cannot be read: caf\udce9"]


def test_no_field_takes_the_place_of_the_line(tmp_path: Path) -> None:
    """What the manual shows is in the file, whatever the fields of the line are called."""
    clock, log = Clock(), Logger("mailsvc.smtp.test")
    files = LogFiles(tmp_path, LogSettings(), clock)
    files.start()
    log.info("refused {part}: {text}", part="a command", text="no such mailbox")

    clock.advance(DELAY)
    files.stop()

    told = json.loads((tmp_path / "smtp.jsonl").read_text(encoding="utf-8"))
    assert told["text"] == "refused a command: no such mailbox"
    assert told["part"] == "mailsvc.smtp.test"


class TestLine:
    """One event as JSON."""

    VALUES = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    )
    NAMES = st.text().filter(lambda name: not name.startswith("log_"))
    """Of fields: others are those of the log itself."""
    MOMENTS = st.floats(0, 4e9)

    @staticmethod
    def refuse(constant: str) -> None:
        """Know no number that JSON does not know."""
        raise AssertionError(constant)

    @given(fields=st.dictionaries(NAMES, VALUES, max_size=5), text=st.text(), moment=MOMENTS)
    def test_any_field_is_valid_json(
        self, fields: dict[str, Any], text: str, moment: float
    ) -> None:
        """One line, which begins with what every line has."""
        event = {
            **fields,
            "log_time": moment,
            "log_level": LogLevel.info,
            "log_namespace": "mailsvc.smtp.session",
            "log_format": "said: {log_said}",
            "log_said": text,
        }

        line = to_line(event)

        assert line.index("\n") == len(line) - 1
        told = json.loads(line.encode("utf-8", "backslashreplace"), parse_constant=self.refuse)
        assert list(told)[:4] == ["time", "level", "part", "text"]
        assert (told["level"], told["part"]) == ("info", "mailsvc.smtp.session")
        assert told["text"] == f"said: {text}"

    @given(fields=st.dictionaries(st.from_regex("[a-z]_[a-z]", fullmatch=True), VALUES))
    def test_fields_are_told_as_they_are(self, fields: dict[str, Any]) -> None:
        """Texts, numbers and lists of them; octets as far as they are text."""
        event = {**fields, "log_time": 0.0, "log_level": LogLevel.warn}

        told = json.loads(to_line(event).encode("utf-8", "backslashreplace"))

        plain = {key: value for key, value in fields.items() if type(value) in (str, int, bool)}
        assert {key: told[key] for key in plain} == plain
        assert set(told) >= set(fields)

    @given(MOMENTS)
    def test_the_time_is_that_of_the_event(self, moment: float) -> None:
        """To the millisecond, in UTC."""
        told = json.loads(to_line({"log_time": moment, "log_level": LogLevel.info}))

        seconds = datetime.fromisoformat(told["time"]).timestamp()
        assert moment - 0.0011 <= seconds <= moment + 0.0001

    @pytest.mark.parametrize("value", [{(1, 2): 3}, [float("nan")], {None: {(): 1}}])
    def test_what_json_cannot_say_is_told_as_text(self, value: object) -> None:
        """The event is not lost for one of its fields."""
        event = {"log_time": 0.0, "log_level": LogLevel.info, "odd": value, "even": 2}

        told = json.loads(to_line(event), parse_constant=self.refuse)

        assert str(told["odd"]) == str(value)
        assert told["even"] == 2

    def test_a_failure_has_its_traceback(self) -> None:
        """Behind the fields."""
        event = {
            "log_time": 0.0,
            "log_level": LogLevel.critical,
            "log_failure": Failure(KeyError()),
        }

        told = json.loads(to_line(event))

        assert "KeyError" in told["traceback"]


class Reactor(Clock):
    """Runs and stops when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.running = False
        self._last: list[Callable[[], object]] = []

    def addSystemEventTrigger(self, phase: str, event: str, call: Callable[[], object]) -> None:
        """Call it at the end."""
        assert (phase, event) == ("after", "shutdown")
        self._last.append(call)

    def end(self) -> None:
        """Tell those who asked for it; no timer fires any more."""
        for call in self._last:
            call()


class Terminal:
    """A log for people, on a reactor of ours."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, out: IO[str] | None = None) -> None:
        self.reactor = Reactor()
        monkeypatch.setattr("twisted.internet.reactor", self.reactor, raising=False)
        self._out = out or StringIO()
        self._log = TerminalLog(self._out)

    def say(self, *texts: str) -> None:
        """Log them."""
        for text in texts:
            event = {
                "log_time": 0.0,
                "log_level": LogLevel.info,
                "log_namespace": "mailsvc.smtp.session",
                "log_format": "{text}",
                "text": text,
            }
            self._log(event)

    def shown(self) -> list[str]:
        """Tell what can be read."""
        assert isinstance(self._out, StringIO)
        return [line.split()[-1] for line in self._out.getvalue().splitlines()]


class TestTerminal:
    """Lines for people."""

    def test_lines_come_in_order_and_none_is_lost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Before the service runs and after it each at once; meanwhile many together."""
        terminal = Terminal(monkeypatch)

        terminal.say("1", "2")
        assert terminal.shown() == ["1", "2"]
        terminal.reactor.running = True
        terminal.say("3", "4")
        assert terminal.shown() == ["1", "2"]
        terminal.reactor.advance(BLINK)
        assert terminal.shown() == ["1", "2", "3", "4"]
        terminal.say("5")
        terminal.reactor.running = False
        terminal.say("6")
        terminal.reactor.end()
        assert terminal.shown() == ["1", "2", "3", "4", "5", "6"]
        terminal.say("7")

        assert terminal.shown() == ["1", "2", "3", "4", "5", "6", "7"]

    def test_one_timer_is_enough_for_many_lines(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """And none is left when nothing waits."""
        terminal = Terminal(monkeypatch)
        terminal.reactor.running = True

        terminal.say("1", "2", "3")
        assert len(terminal.reactor.getDelayedCalls()) == 1
        terminal.reactor.advance(BLINK)

        assert not terminal.reactor.getDelayedCalls()

    def test_what_a_terminal_cannot_show_takes_no_line_with_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its octets are shown instead."""
        octets = BytesIO()
        terminal = Terminal(monkeypatch, TextIOWrapper(octets, "ascii"))
        terminal.reactor.running = True

        terminal.say("before", "caf\udce9", "grün", "after")
        terminal.reactor.advance(BLINK)

        shown = [line.split()[-1] for line in octets.getvalue().splitlines()]
        assert shown == [b"before", b"caf\\udce9", b"gr\\xfcn", b"after"]

    def test_a_terminal_that_is_gone_disturbs_nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An error at each line would be one more line, without end."""

        class Gone(StringIO):
            def flush(self) -> None:
                raise BrokenPipeError

        terminal = Terminal(monkeypatch, Gone())
        terminal.say("before")
        terminal.reactor.running = True

        terminal.say("1")
        terminal.reactor.advance(BLINK)

        assert not terminal.reactor.getDelayedCalls()
