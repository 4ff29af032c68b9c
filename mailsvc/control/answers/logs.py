"""Answers about log files."""

from mailsvc.control.answers.base import Answers, Asked
from mailsvc.control.boxes import build
from mailsvc.control.commands.logs import LogClear, LogRead
from mailsvc.model.log import LogFilter, LogPart


async def read(asked: Asked) -> LogPart:
    """Read a part of a log."""
    only = build(LogFilter, asked.values)
    return await asked.administration.logs.read(asked["name"], asked["after"], only)


async def clear(asked: Asked) -> None:
    """Remove all lines of a log."""
    await asked.administration.logs.clear(asked["name"], by=asked.by)


ANSWERS: Answers = {LogClear: clear, LogRead: read}
