"""Log files: JSON lines, one file per part of the service, rotated by size."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    globalLogPublisher,
)
from twisted.python.logfile import LogFile
from zope.interface import implementer

from mailsvc.config.settings import LogSettings
from mailsvc.errors import StartError

FILES = {
    "mailsvc.smtp": "smtp",
    "mailsvc.pop3": "pop3",
    "mailsvc.control": "control",
    "mailsvc.admin": "control",
    "mailsvc.delivery": "delivery",
    "mailsvc.filters": "delivery",
    "mailsvc.store": "delivery",
}
"""Which file a part of the code writes to; everything else goes to ``service``."""

_OWN_KEYS = frozenset({"isError", "message", "time", "system", "format"})


@implementer(ILogObserver)
class LogFiles:
    """
    Writes events to files.

    Args:
        folder: Where they are; made when missing.
        settings: From which level on, and when a file is rotated.
    """

    def __init__(self, folder: Path, settings: LogSettings) -> None:
        self._folder = folder
        self._settings = settings
        self._files: dict[str, LogFile] = {}
        levels = LogLevelFilterPredicate(LogLevel.lookupByName(settings.level.value))
        self._observer = FilteringLogObserver(self, (levels,))

    def start(self) -> None:
        """
        Open the files and watch the log.

        Raises:
            StartError: The folder cannot be written to.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in sorted({*FILES.values(), "service"}):
                self._files[name] = LogFile(
                    f"{name}.jsonl",
                    str(self._folder),
                    rotateLength=self._settings.rotate_octets,
                    maxRotatedFiles=self._settings.keep,
                    defaultMode=0o600,
                )
        except OSError as error:
            raise StartError(
                f"{self._folder}: log files cannot be written here ({error.strerror}); "
                "change log.folder or the owner of the folder"
            ) from None
        globalLogPublisher.addObserver(self._observer)

    def stop(self) -> None:
        """Close the files."""
        globalLogPublisher.removeObserver(self._observer)
        for file in self._files.values():
            file.close()
        self._files.clear()

    def __call__(self, event: LogEvent) -> None:
        """Write one event; a full disk must not end a session, so it goes unsaid."""
        room = ".".join(event.get("log_namespace", "").split(".")[:2])
        file = self._files.get(FILES.get(room, "service"))
        if file is None:
            return
        try:
            file.write(to_line(event))
        except OSError:
            return


def to_line(event: Mapping[str, Any]) -> str:
    """Write an event as one line of JSON: time, level, part, text and its named fields."""
    failure = event.get("log_failure")
    told = {
        "time": datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds"),
        "level": event["log_level"].name,
        "part": event.get("log_namespace", ""),
        "text": formatEvent(dict(event)),
        **{
            key: value
            for key, value in event.items()
            if not key.startswith("log_") and key not in _OWN_KEYS
        },
    }
    if failure is not None:
        told["traceback"] = failure.getTraceback()
    return json.dumps(told, ensure_ascii=False, default=_plain) + "\n"


def _plain(value: object) -> object:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
