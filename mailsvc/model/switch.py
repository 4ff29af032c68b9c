"""What is started and stopped, also for a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Switch:
    """
    Whether something shall run.

    Args:
        running: What it shall do now.
        until: When it turns by itself, aware UTC; None: it stays.
    """

    running: bool = True
    until: datetime | None = None

    def at(self, now: datetime) -> "Switch":
        """Give the switch as it stands at a time: it may have turned."""
        if self.until is None or now < self.until:
            return self
        return Switch(not self.running)


def switch_name(service: str, listener: str = "") -> str:
    """Name the row of ``setting`` that has the switch of a service, or of one listener."""
    return f"service.listeners.{listener}.running" if listener else f"service.{service}.running"


def write_switch(switch: Switch) -> Any:
    """Write a switch as JSON has it."""
    if switch.until is None:
        return switch.running
    return {"running": switch.running, "until": switch.until.isoformat()}


def read_switch(written: Any) -> Switch:
    """Read a switch; what cannot be read is on."""
    if isinstance(written, dict):
        return Switch(bool(written["running"]), datetime.fromisoformat(written["until"]))
    return Switch(written is not False)


def switch_of(rows: Mapping[str, Any], listener: str, service: str, now: datetime) -> Switch:
    """
    Tell whether a listener shall run.

    Args:
        rows: Values of ``setting`` by name; a listener's own goes before its service's.
        listener: Its name.
        service: Its service.
        now: Aware UTC.
    """
    for name in (switch_name(service, listener), switch_name(service)):
        if name in rows:
            return read_switch(rows[name]).at(now)
    return Switch()
