"""The log files: every event is one line of JSON, and none keeps the others out."""

import json
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import Logger

from mailsvc.config.settings import LogSettings
from mailsvc.service.logs import DELAY, LogFiles


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
