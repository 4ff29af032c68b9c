"""Logs: JSON lines in files, one file per part of the service; readable lines on a terminal."""

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from io import TextIOWrapper
from json.encoder import encode_basestring
from pathlib import Path
from typing import IO, Any, cast

from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.logfile import LogFile
from zope.interface import implementer

from mailsvc.config.settings import LogName, LogSettings
from mailsvc.errors import CommandError, StartError
from mailsvc.interfaces import ILogBook
from mailsvc.model.log import LOGS, LogFilter, LogPart
from mailsvc.service.logbook import log_files, read_log

FILES = {
    "mailsvc.smtp": "smtp",
    "mailsvc.pop3": "pop3",
    "mailsvc.control": "control",
    "mailsvc.admin": "control",
    "mailsvc.delivery": "delivery",
    "mailsvc.filters": "delivery",
    "mailsvc.outbound": "delivery",
    "mailsvc.store": "delivery",
}
"""Which file a part of the code writes to; everything else goes to ``service``."""

DELAY = 0.2
"""Seconds that an event waits for others before they are written together."""

BLINK = 0.05
"""Seconds that a line for the terminal waits for others: nobody sees it."""

_NOT_FIELDS = frozenset(
    # Twisted puts the first ones into events for its older log; the others stand in each line.
    {"isError", "message", "time", "system", "format", "level", "part", "text"}
)


def levels_from(lowest: str) -> frozenset[object]:
    """Give the levels that are at least as important as the one named."""
    least = LogLevel.lookupByName(lowest)
    return frozenset(level for level in LogLevel.iterconstants() if level >= least)


@implementer(ILogObserver, ILogBook)
class LogFiles:
    """
    Writes events to files.

    Args:
        folder: Where they are; made when missing.
        settings: From which level on, and when a file is rotated.
        clock: The reactor: tells when to write, and has threads to read on.
    """

    def __init__(self, folder: Path, settings: LogSettings, clock: Any) -> None:
        self._clock = clock
        self._waiting: dict[str, list[str]] = {}
        self._folder = folder
        self._settings = settings
        self._files: dict[str, LogFile] = {}
        self._levels = levels_from(settings.level.value)

    def start(self) -> None:
        """
        Open the files and watch the log.

        Raises:
            StartError: The folder cannot be written to.
        """
        try:
            self._files = _open_files(self._folder, self._settings)
        except CommandError as error:
            raise StartError(str(error)) from None
        globalLogPublisher.addObserver(self)

    @asynccontextmanager
    async def trying(self, folder: Path, settings: LogSettings) -> AsyncIterator[None]:
        """
        Write to other files, or in another way, when what is done meanwhile succeeds.

        Raises:
            CommandError: They cannot be written; everything is as it was.
        """
        if (folder, settings) == (self._folder, self._settings):
            yield
            return
        files = _open_files(folder, settings)
        try:
            yield
        except BaseException:
            _close_files(files)
            raise
        self.flush()
        _close_files(self._files)
        self._files, self._folder, self._settings = files, folder, settings
        self._levels = levels_from(settings.level.value)

    async def read(self, name: str, after: str, only: LogFilter) -> LogPart:
        """Read a part of a log, on a thread: the disk may be slow, and files large."""
        self.flush()
        pool, folder = self._clock.getThreadPool(), _folder_of(name, self._folder, self._settings)
        return await deferToThreadPool(self._clock, pool, read_log, folder, name, after, only)

    def clear(self, name: str) -> None:
        """Remove all lines of a log."""
        self.flush()
        file, folder = self._files.pop(name), _folder_of(name, self._folder, self._settings)
        file.close()
        try:
            for path in log_files(folder, name):
                path.unlink()
        except OSError as error:
            raise CommandError(f"the log {name} cannot be removed: {error.strerror}") from None
        finally:
            self._files[name] = _open_file(folder, name, self._settings)

    def stop(self) -> None:
        """Close the files."""
        globalLogPublisher.removeObserver(self)
        self.flush()
        _close_files(self._files)

    def __call__(self, event: LogEvent) -> None:
        """Take one event; many are written together."""
        if event["log_level"] not in self._levels:
            return
        name = FILES.get(_part(event), "service")
        if not self._waiting and self._files:
            self._clock.callLater(DELAY, self.flush)
        self._waiting.setdefault(name, []).append(to_line(event))

    def flush(self) -> None:
        """Write what waits; a full disk must not end a session, so it goes unsaid."""
        waiting, self._waiting = self._waiting, {}
        for name, lines in waiting.items():
            file = self._files.get(name)
            if file is not None:
                with suppress(OSError):
                    file.write("".join(lines).encode("utf-8", "backslashreplace"))


def _folder_of(name: str, folder: Path, settings: LogSettings) -> Path:
    """Tell where a log is: in a folder of its own, or in that of all."""
    return settings.folders.get(cast("LogName", name), folder)


def _open_files(folder: Path, settings: LogSettings) -> dict[str, LogFile]:
    files: dict[str, LogFile] = {}
    for name in LOGS:
        own = _folder_of(name, folder, settings)
        try:
            own.mkdir(parents=True, exist_ok=True, mode=0o700)
            files[name] = _open_file(own, name, settings)
        except OSError as error:
            _close_files(files)
            where = f"log.folders.{name}" if name in settings.folders else "log.folder"
            raise CommandError(
                f"{own}: log files cannot be written here ({error.strerror}); "
                f"change {where} or the owner of the folder"
            ) from None
    return files


def _open_file(folder: Path, name: str, settings: LogSettings) -> LogFile:
    return LogFile(
        f"{name}.jsonl",
        str(folder),
        rotateLength=settings.rotate_octets,
        maxRotatedFiles=settings.keep,
        defaultMode=0o600,
    )


def _close_files(files: dict[str, LogFile]) -> None:
    for file in files.values():
        file.close()
    files.clear()


@implementer(ILogObserver)
class TerminalLog:
    """
    Writes events for people who watch the service in the foreground.

    Args:
        out: Where to; None: standard output.
    """

    def __init__(self, out: IO[str] | None = None) -> None:
        self._out = out or sys.stdout
        if isinstance(self._out, TextIOWrapper):
            # What a terminal cannot show must not take the lines with it that wait, too.
            self._out.reconfigure(errors="backslashreplace")
        self._levels = levels_from("info")
        self._waiting: list[str] = []
        self._flushed_at_end = False

    def __call__(self, event: LogEvent) -> None:
        """Write one event: time, level if it is not ``info``, part and text."""
        if event["log_level"] not in self._levels:
            return
        level = event["log_level"]
        loud = "" if level is LogLevel.info else f"{level.name.upper()}: "
        room = _part(event).removeprefix("mailsvc.").partition(".")[0]
        room = "twisted" if room == "log_legacy" else room
        line = f"{_clock(int(event['log_time']))} {room:8.8} {loud}{_text(event)}\n"
        failure = event.get("log_failure")
        self._waiting.append(line if failure is None else line + failure.getTraceback())
        if len(self._waiting) == 1:
            self._write_soon()

    def _write_soon(self) -> None:
        """Write several lines at once while the service runs; before and after, each at once."""
        from twisted.internet import reactor  # noqa: TID251 - twistd has chosen it by now

        clock: Any = reactor
        if not clock.running:
            self.flush()
            return
        clock.callLater(BLINK, self.flush)
        if not self._flushed_at_end:
            self._flushed_at_end = True
            clock.addSystemEventTrigger("after", "shutdown", self.flush)

    def flush(self) -> None:
        """Write what waits; that nobody reads it any more goes unsaid, or it were said for ever."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            with suppress(OSError):
                self._out.write("".join(waiting))
                self._out.flush()


@implementer(ILogObserver)
class NoTerminal:
    """Stands in for the terminal of a daemon: its log is in the files."""

    def __call__(self, event: LogEvent) -> None:
        """Say nothing."""


def to_line(event: Mapping[str, Any]) -> str:
    """Write an event as one line of JSON: time, level, part, text and its named fields."""
    failure, moment = event.get("log_failure"), event["log_time"]
    pairs = [
        f'{{"time": "{_second(int(moment))}.{int(moment % 1 * 1000):03}+00:00"',
        f'"level": "{event["log_level"].name}"',
        f'"part": {encode_basestring(event.get("log_namespace", ""))}',
        f'"text": {encode_basestring(_text(event))}',
    ]
    keys = tuple(event)
    if failure is not None:
        keys = tuple(key for key in keys if key != "traceback")
        pairs.append(f'"traceback": {encode_basestring(failure.getTraceback())}')
    pairs += [start + _json(event[key]) for key, start in _fields(keys)]
    return f"{', '.join(pairs)}}}\n"


@lru_cache(maxsize=1024)
def _fields(keys: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Choose the fields of an event that are told, each with its start; alike for one call."""
    return tuple(
        (key, f"{encode_basestring(key)}: ")
        for key in keys
        if not key.startswith("log_") and key not in _NOT_FIELDS
    )


def _json(value: object) -> str:
    """Write a value; texts and numbers need no encoder, which would be made for each."""
    kind = type(value)
    if kind is str:
        return encode_basestring(cast("str", value))
    if kind is int:
        return str(value)
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError):
        return encode_basestring(str(value))  # no number of JSON, or odd keys


@lru_cache(maxsize=8)
def _second(moment: int) -> str:
    """Write a second, once for the many events that share it."""
    return datetime.fromtimestamp(moment, UTC).isoformat()[:19]


@lru_cache(maxsize=8)
def _clock(moment: int) -> str:
    """Write a second as a clock on the wall shows it."""
    return f"{datetime.fromtimestamp(moment).astimezone():%H:%M:%S}"


def _part(event: Mapping[str, Any]) -> str:
    """Name the room that an event comes from: the first two names of its module."""
    return _room(event.get("log_namespace", ""))


@lru_cache(maxsize=1024)
def _room(namespace: str) -> str:
    return ".".join(namespace.split(".", 2)[:2])


def _text(event: Mapping[str, Any]) -> str:
    """Format an event; ours are plain formats, which Python does ten times as fast."""
    try:
        return str(event["log_format"].format_map(event))
    except (KeyError, ValueError, AttributeError, TypeError, IndexError):
        return formatEvent(dict(event))


def _plain(value: object) -> object:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=_plain, allow_nan=False)
