"""Log files are read in parts, over all rotations, while they are written."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import Logger

from mailsvc.config.settings import LogSettings
from mailsvc.errors import CommandError
from mailsvc.model.log import WHOLE_LOG, LogFilter
from mailsvc.service import logbook
from mailsvc.service.logbook import read_log
from mailsvc.service.logs import DELAY, LogFiles

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def line(number: int, level: str = "info", text: str = "") -> str:
    """Make a line that was written so many minutes after noon."""
    moment = (NOON + timedelta(minutes=number)).isoformat(timespec="milliseconds")
    return json.dumps({"time": moment, "level": level, "text": text or f"line {number}"})


def write(folder: Path, name: str, *lines: str) -> None:
    """Write a file."""
    (folder / name).write_text("".join(f"{one}\n" for one in lines))


def read_all(folder: Path, only: LogFilter = WHOLE_LOG) -> list[str]:
    """Read part after part; tells the texts."""
    part, found = read_log(folder, "smtp", "", only), list[str]()
    for _ in range(1000):
        found += part.lines
        if part.end:
            return [json.loads(one)["text"] for one in found]
        part = read_log(folder, "smtp", part.next, only)
    raise AssertionError("it never ends")


def test_rotated_files_come_first_the_oldest_before_all(tmp_path: Path) -> None:
    """Ten comes before nine."""
    for number, name in enumerate(["smtp.jsonl.10", "smtp.jsonl.9", "smtp.jsonl.1", "smtp.jsonl"]):
        write(tmp_path, name, line(number))
    write(tmp_path, "pop3.jsonl", line(99))
    write(tmp_path, "smtp.jsonl.old", line(98))

    assert read_all(tmp_path) == ["line 0", "line 1", "line 2", "line 3"]


@given(st.integers(1, 400), st.integers(1, 5))
def test_parts_lose_nothing_and_repeat_nothing(octets: int, files: int) -> None:
    """Whatever fits into one."""
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as name:
        folder = Path(name)
        patch.setattr(logbook, "SCAN", octets)
        for number in range(files):
            behind = files - 1 - number
            file = f"smtp.jsonl.{behind}" if behind else "smtp.jsonl"
            write(folder, file, line(2 * number), line(2 * number + 1))

        assert read_all(folder) == [f"line {number}" for number in range(2 * files)]


def test_what_is_written_later_comes_later(tmp_path: Path) -> None:
    """Also through a rotation; half a line waits for its end."""
    write(tmp_path, "smtp.jsonl", line(0))
    part = read_log(tmp_path, "smtp", "", WHOLE_LOG)
    assert part.end
    assert read_log(tmp_path, "smtp", part.next, WHOLE_LOG).lines == ()

    with (tmp_path / "smtp.jsonl").open("a") as file:
        file.write(line(1) + "\n" + line(2)[:10])
    part = read_log(tmp_path, "smtp", part.next, WHOLE_LOG)
    assert [json.loads(one)["text"] for one in part.lines] == ["line 1"]
    with (tmp_path / "smtp.jsonl").open("a") as file:
        file.write(line(2)[10:] + "\n")
    (tmp_path / "smtp.jsonl").rename(tmp_path / "smtp.jsonl.1")
    write(tmp_path, "smtp.jsonl", line(3))

    part = read_log(tmp_path, "smtp", part.next, WHOLE_LOG)

    assert [json.loads(one)["text"] for one in part.lines] == ["line 2", "line 3"]


@pytest.mark.parametrize(
    ("only", "numbers"),
    [
        (LogFilter(since=NOON + timedelta(minutes=2)), [2, 3]),
        (LogFilter(until=NOON + timedelta(minutes=2)), [0, 1]),
        (LogFilter(level="warn"), [1, 3]),
        (LogFilter(words=("ALICE@test.com",)), [1, 2]),
        (LogFilter(words=("alice@test.com", "192.0.2.7")), [2]),
        (LogFilter(words=("爱",)), [3]),
        (LogFilter(words=("nobody",)), []),
    ],
)
def test_lines_are_chosen(tmp_path: Path, only: LogFilter, numbers: list[int]) -> None:
    """By time, importance and words; what is no JSON has no time."""
    texts = ["x", "alice@test.com", "Alice@test.com from 192.0.2.7", "爱"]
    levels = ["info", "warn", "debug", "error"]
    lines = [
        json.dumps(json.loads(line(number, level, text)), ensure_ascii=False)
        for number, (level, text) in enumerate(zip(levels, texts, strict=True))
    ]
    write(tmp_path, "smtp.jsonl", *lines)

    assert read_all(tmp_path, only) == [texts[number] for number in numbers]


def test_a_long_line_is_cut_and_stays_json(tmp_path: Path) -> None:
    """A traceback; many of them fit into parts."""
    write(tmp_path, "smtp.jsonl", *(line(number, text="y" * 100_000) for number in range(30)))

    texts = read_all(tmp_path)

    assert [len(text) for text in texts] == [2000] * 30


@pytest.mark.parametrize("after", ["x", "1", "1:", ":1", "1:-1", "1:x"])
def test_a_place_that_is_none_is_refused(tmp_path: Path, after: str) -> None:
    """It says what to do."""
    with pytest.raises(CommandError, match="begin anew"):
        read_log(tmp_path, "smtp", after, WHOLE_LOG)


def test_a_file_that_is_gone_is_begun_anew(tmp_path: Path) -> None:
    """It was rotated away, or cleared."""
    write(tmp_path, "smtp.jsonl", line(0))

    assert len(read_log(tmp_path, "smtp", "1:5000", WHOLE_LOG).lines) == 1
    assert read_log(tmp_path, "pop3", "", WHOLE_LOG).end


def test_a_cleared_log_goes_on(tmp_path: Path) -> None:
    """Rotated files go with it, other logs stay."""
    clock, log = Clock(), Logger("mailsvc.smtp.test")
    files = LogFiles(tmp_path, LogSettings(), clock)
    files.start()
    log.info("before")
    clock.advance(DELAY)
    write(tmp_path, "smtp.jsonl.1", line(0))
    write(tmp_path, "pop3.jsonl.1", line(0))

    files.clear("smtp")

    log.info("after")
    clock.advance(DELAY)
    files.stop()
    assert read_all(tmp_path) == ["after"]
    assert (tmp_path / "pop3.jsonl.1").exists()
    assert (tmp_path / "smtp.jsonl").stat().st_mode & 0o777 == 0o600
