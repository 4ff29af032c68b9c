"""How many connections one client may have, and how often it may make one."""

from collections.abc import Callable

from mailsvc.config.units import Rate
from mailsvc.policy.limits import Throttle, network_of, with_rate

Leave = Callable[[], None]
"""Gives a place back; call it once."""


def nothing() -> None:
    """Leave when no place was taken."""


class Place:
    """
    The place of one connection, which is held by its client and by the work for it.

    It is given back when both have let it go: work may outlive the connection, and a client
    may still read what the work has said.
    """

    __slots__ = ("_holders", "leave")

    def __init__(self) -> None:
        self._holders = 2
        self.leave: Leave = nothing
        """Gives the place back; set when it is taken."""

    def let_go(self) -> None:
        """Be one of the two; each calls it once."""
        self._holders -= 1
        if not self._holders:
            self.leave()


class Crowd:
    """
    Count the connections of each client.

    Args:
        most: Connections of one client at the same time.
        rate: New connections of one client; None: no limit.
    """

    __slots__ = ("_here", "_most", "_throttle")

    def __init__(self, most: int, rate: Rate | None) -> None:
        self._most = most
        self._throttle: Throttle | None = with_rate(None, rate)
        self._here: dict[str, int] = {}

    def use(self, most: int, rate: Rate | None) -> None:
        """Hold to other limits from now on; who is here stays."""
        self._most, self._throttle = most, with_rate(self._throttle, rate)

    def __len__(self) -> int:
        """Count the clients that are connected."""
        return len(self._here)

    def enter(self, ip: str, now: float) -> Leave | None:
        """
        Count a connection whose client is known now.

        Args:
            ip: The client's address.
            now: Seconds.

        Returns:
            What its end must call; None: there are too many, and nothing was counted.
        """
        client = network_of(ip)
        here = self._here.get(client, 0)
        if here >= self._most:
            return None
        if self._throttle is not None and not self._throttle.take(client, now):
            return None
        self._here[client] = here + 1
        return lambda: self._leave(client)

    def _leave(self, client: str) -> None:
        left = self._here[client] - 1
        if left:
            self._here[client] = left
        else:
            del self._here[client]
