"""The ways that mail leaves by, each with its parcels, its connections and its back-off."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from twisted.internet.defer import Deferred

from mailsvc.outbound.parcels import Parcel
from mailsvc.outbound.ways import Way


@dataclass(slots=True)
class Lane:
    """One way, its parcels and its connections."""

    way: Way
    parcels: deque[Parcel] = field(default_factory=deque)
    domains: set[str] = field(default_factory=set)
    rows: int = 0
    """In hand, those under way included."""
    connections: int = 0
    most: int | None = None
    """Connections that its server bears, as we have learnt; None: not yet."""
    failures: int = 0
    """In a row: of connecting, or of connections that broke."""
    closed_until: datetime | None = None
    """Its server is left alone until then; None: it is not."""
    trouble: str = ""
    behind: bool = False
    """Whether rows of it that are due may wait in the database."""
    waiting: list["Deferred[None]"] = field(default_factory=list)
    """Connections that wait for a parcel."""

    def is_closed(self, now: datetime) -> bool:
        """Whether its server is left alone now."""
        return self.closed_until is not None and self.closed_until > now


class LaneState(NamedTuple):
    """
    A way that is left alone for a while.

    Args:
        domains: Whose mail waits.
        until: When it is tried again, aware UTC.
        trouble: Why, in one line.
    """

    domains: tuple[str, ...]
    until: datetime
    trouble: str
