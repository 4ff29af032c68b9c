"""Read log files, a part at a time, over all rotations."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from mailsvc.errors import CommandError
from mailsvc.model.log import LogFilter, LogPart

PART = 50_000
"""Octets of lines in one part: a value of the control channel holds 65,535."""
SCAN = 4 * 1024 * 1024
"""Octets looked at for one part: whoever asks for rare lines gets empty parts, and asks on."""
_LONGEST = 20_000
"""Octets of a line that are shown; a traceback may be longer."""
_LEVELS = ("debug", "info", "warn", "error", "critical")

Matches = Callable[[str], bool]


class _Place(NamedTuple):
    """Where a part begins: in which file, by its inode, which a rotation does not change."""

    inode: int
    offset: int


def read_log(folder: Path, name: str, after: str, only: LogFilter) -> LogPart:
    """
    Read a part of a log; blocks as long as the disk does.

    Args:
        folder: Where the files are.
        name: Of the log.
        after: What the part before this one gave as ``next``; empty: from the oldest line.

    Raises:
        CommandError: *after* is none, or a file cannot be read.
    """
    try:
        return _read(list(log_files(folder, name)), _place(after), _matcher(only))
    except OSError as error:
        raise CommandError(f"the log {name} cannot be read: {error.strerror}") from None


def log_files(folder: Path, name: str) -> Iterator[Path]:
    """Give the files of a log, the oldest first."""
    current = folder / f"{name}.jsonl"
    rotated = [
        (int(number), path)
        for path in folder.glob(f"{name}.jsonl.*")
        if (number := path.suffix.removeprefix(".")).isdigit()
    ]
    yield from (path for _, path in sorted(rotated, reverse=True))
    if current.exists():
        yield current


def _place(after: str) -> _Place | None:
    if not after:
        return None
    inode, _, offset = after.partition(":")
    if not (inode.isascii() and inode.isdigit() and offset.isascii() and offset.isdigit()):
        raise CommandError(f"{after!r} is no place in a log; begin anew")
    return _Place(int(inode), int(offset))


def _read(files: list[Path], place: _Place | None, matches: Matches) -> LogPart:
    inodes = [path.stat().st_ino for path in files]
    start = inodes.index(place.inode) if place is not None and place.inode in inodes else 0
    offset = place.offset if place is not None and place.inode in inodes else 0
    part = _Part(matches)
    for inode, path in zip(inodes[start:], files[start:], strict=True):
        offset = part.read(path, offset)
        if part.full:
            return LogPart(tuple(part.lines), f"{inode}:{offset}", end=False)
        place, offset = _Place(inode, offset), 0
    text = "" if place is None else f"{place.inode}:{place.offset}"
    return LogPart(tuple(part.lines), text, end=True)


class _Part:
    """The lines of a part while it is read."""

    def __init__(self, matches: Matches) -> None:
        self._matches = matches
        self._room, self._scan = PART, SCAN
        self.lines: list[str] = []
        self.full = False

    def read(self, path: Path, offset: int) -> int:
        """Take lines of a file from an offset on; gives the offset behind the last one."""
        with path.open("rb") as file:
            # A file that was cleared begins anew.
            offset = file.seek(offset if offset <= path.stat().st_size else 0)
            for octets in file:
                if not octets.endswith(b"\n"):
                    break  # It is just being written.
                if self._scan <= 0 or not self._take(octets):
                    self.full = True
                    break
                self._scan -= len(octets)
                offset += len(octets)
        return offset

    def _take(self, octets: bytes) -> bool:
        """Take a line if it matches; False: there is no room for it."""
        line = octets[:-1].decode("utf-8", "replace")
        if not self._matches(line):
            return True
        shown = line if len(octets) <= _LONGEST else _shortened(line)
        size = len(shown.encode("utf-8", "replace")) + 2
        if size > self._room:
            return False
        self._room -= size
        self.lines.append(shown)
        return True


def _shortened(line: str) -> str:
    """Make a long line one that fits; it stays JSON."""
    try:
        told = json.loads(line)
        short = {key: told.get(key) for key in ("time", "level", "part")}
        text = json.dumps({**short, "text": str(told.get("text"))[:2000], "cut": True})
    except (ValueError, AttributeError):
        text = json.dumps({"text": line[:2000], "cut": True})
    return text


def _matcher(only: LogFilter) -> Matches:
    words = [word.casefold() for word in only.words]
    least = _LEVELS.index(only.level) if only.level in _LEVELS else 0

    def matches(line: str) -> bool:
        if words:
            folded = line.casefold()
            if not all(word in folded for word in words):
                return False
        return _is_meant(line, only, least)

    return matches


def _is_meant(line: str, only: LogFilter, least: int) -> bool:
    if only.since is None and only.until is None and not least:
        return True
    try:
        told = json.loads(line)
        moment, level = datetime.fromisoformat(told["time"]), told["level"]
    except (ValueError, KeyError, TypeError):
        return False
    if only.since is not None and moment < only.since:
        return False
    if only.until is not None and moment >= only.until:
        return False
    return level not in _LEVELS or _LEVELS.index(level) >= least
