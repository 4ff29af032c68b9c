"""Log files as an administrator asks for them."""

from dataclasses import dataclass
from datetime import datetime

LOGS = ("smtp", "pop3", "control", "delivery", "service")
"""The log files, one for each part of the service; the last one has what belongs to none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """
    Which lines; what is empty does not matter, and all of the rest must hold.

    Args:
        since: Written then or later, aware.
        until: Written before, aware.
        level: At least as important: ``debug``, ``info``, ``warn``, ``error``.
        words: All of them stand in the line, in small or capital letters.
    """

    since: datetime | None = None
    until: datetime | None = None
    level: str = ""
    words: tuple[str, ...] = ()


WHOLE_LOG = LogFilter()


@dataclass(frozen=True, slots=True)
class LogPart:
    """
    Some lines of a log.

    Args:
        lines: JSON, without line ends, the oldest first.
        next: Where the next part begins; also when there is nothing yet.
        end: Whether this was all there is now.
    """

    lines: tuple[str, ...]
    next: str
    end: bool
