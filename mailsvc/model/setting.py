"""One setting as an administrator sees it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Origin(StrEnum):
    """Where a value comes from."""

    DEFAULT = "default"
    FILE = "config.yaml"
    CHANGED = "mailctl"


@dataclass(frozen=True, slots=True)
class SettingState:
    """
    One setting.

    Args:
        name: Its path in config.yaml, with dots.
        value: What is in force, as JSON.
        origin: Where that comes from.
        without: What would be in force without the change, as JSON; empty: it is no change.
        live: Whether it may be changed while the daemon runs.
        by: Who has changed it.
        changed: When, aware UTC.
        left_out: Why a change is not in force; empty: it is.
    """

    name: str
    value: str
    origin: Origin
    without: str = ""
    live: bool = True
    by: str = ""
    changed: datetime | None = None
    left_out: str = ""
