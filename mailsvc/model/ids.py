"""Identifiers: 63-bit numbers in order of time, made without asking the database."""

import threading
import time
from datetime import datetime
from typing import NewType

AccountId = NewType("AccountId", int)
CredentialId = NewType("CredentialId", int)
DomainId = NewType("DomainId", int)
FolderId = NewType("FolderId", int)
MessageId = NewType("MessageId", int)

NODES = 1 << 10
"""How many nodes can make identifiers at the same time."""
_NODE_BITS = 10
_SERIAL_BITS = 11
_TICK_BITS = _NODE_BITS + _SERIAL_BITS
_SERIALS = (1 << _SERIAL_BITS) - 1


class IdSource:
    """
    Makes identifiers that grow with time and never repeat, on any thread.

    An identifier is 42 bits of milliseconds since 1970, 10 bits of node and 11 bits of
    serial number, so that rows are appended to their indexes and two nodes never clash.
    When the clock stands still, goes back or the serial runs out, the source runs ahead
    of the clock instead of repeating itself.

    Args:
        node: Number of this daemon among all that share the database; below ``NODES``.
        second: Make the odd ones: the second process of a daemon. The first has the even ones.
    """

    def __init__(self, node: int = 0, *, second: bool = False) -> None:
        self._node = 0
        self._last = self._odd = int(second)
        self._lock = threading.Lock()
        self.join(node)

    def join(self, node: int) -> None:
        """Make identifiers as another node from now on; *node* is below ``NODES``."""
        if not 0 <= node < NODES:
            raise ValueError(f"a node's number is between 0 and {NODES - 1}, not {node}")
        self._node = node << _SERIAL_BITS

    @property
    def node(self) -> int:
        """Whose identifiers these are."""
        return self._node >> _SERIAL_BITS

    def next(self) -> int:
        """Make one identifier; it is larger than every earlier one of this source."""
        now = (time.time_ns() // 1_000_000) << _SERIAL_BITS | self._odd
        with self._lock:
            self._last = last = max(now, self._last + 2)
        return (last >> _SERIAL_BITS) << _TICK_BITS | self._node | last & _SERIALS

    def many(self, count: int) -> list[int]:
        """Make some identifiers, as ``next`` does."""
        now = (time.time_ns() // 1_000_000) << _SERIAL_BITS | self._odd
        with self._lock:
            first = max(now, self._last + 2)
            self._last = first + 2 * (count - 1)
        node = self._node
        return [
            (one >> _SERIAL_BITS) << _TICK_BITS | node | one & _SERIALS
            for one in range(first, first + 2 * count, 2)
        ]


def earliest_at(moment: datetime) -> int:
    """Give a number below every identifier made at *moment*, aware, or later."""
    return int(moment.timestamp() * 1000) << _TICK_BITS


def milliseconds_of(identifier: int) -> int:
    """Tell when an identifier was made, in milliseconds since 1970, UTC."""
    return identifier >> _TICK_BITS
