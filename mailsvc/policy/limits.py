"""How much one client may do: rates for each key, and who counts as one client."""

from collections import OrderedDict
from collections.abc import Hashable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from math import ceil

from mailsvc.config.settings import Networks
from mailsvc.config.units import Rate

_TOLERANCE = 1e-3
"""Of the time of one: sums of floats are not exact."""
_LONGEST_IN_SECONDS = 120
"""A longer wait is told in minutes."""
_IPV6_NETWORK = 64
"""Bits of the network of one IPv6 customer; RFC 6177 section 2."""


class Throttle:
    """
    Hold each key to a rate: a bucket that leaks.

    A key that was quiet may take *rate.amount* at once; what it has taken drains evenly over
    *rate.seconds*. In any *rate.seconds* a key gets at most twice the amount: what drains,
    and once the burst. Time comes from outside; only its differences count.

    Args:
        rate: How much in how long, for each key.
        most_keys: Keys that are remembered; then the one that is unused longest is forgotten.
    """

    __slots__ = ("_drained", "_each", "_most_keys", "_seconds", "_tolerance", "rate")

    def __init__(self, rate: Rate, most_keys: int = 100_000) -> None:
        self.rate = rate
        """How much in how long."""
        self._seconds = rate.seconds
        self._each = rate.seconds / rate.amount
        self._tolerance = self._each * _TOLERANCE
        self._most_keys = most_keys
        self._drained: OrderedDict[Hashable, float] = OrderedDict()
        """When the bucket of a key will be empty; the key that is unused longest first."""

    def __len__(self) -> int:
        """Count the keys that are remembered."""
        return len(self._drained)

    def take(self, key: Hashable, now: float, amount: int = 1) -> bool:
        """
        Count what *key* does.

        Args:
            key: Who.
            now: Seconds.
            amount: How much at once; at least 1.

        Returns:
            False: it is too much, and nothing was counted.
        """
        start = self._start(key, now)
        drained = start + amount * self._each
        taken = drained - now <= self._seconds + self._tolerance
        if key in self._drained:
            self._drained.move_to_end(key)
        elif taken:
            self._make_room(now)
        if taken:
            self._drained[key] = drained
        return taken

    def full(self, key: Hashable, now: float) -> bool:
        """Tell whether *key* could not take even 1."""
        return self.wait(key, now) > 0

    def wait(self, key: Hashable, now: float) -> float:
        """Tell how many seconds *key* must wait until it can take 1; 0: none."""
        over = self._start(key, now) + self._each - now - self._seconds
        return over if over > self._tolerance else 0.0

    def forget(self, key: Hashable) -> None:
        """Let *key* start anew."""
        self._drained.pop(key, None)

    def _start(self, key: Hashable, now: float) -> float:
        """Tell when the bucket is empty: not before *now*, and not later than a full one."""
        drained = self._drained.get(key, now)
        # A clock that was set back must not lock anybody out for longer than the rate says.
        return min(max(drained, now), now + self._seconds)

    def _make_room(self, now: float) -> None:
        """Forget up to two keys at the front that say nothing more; a third one if there must."""
        keys = self._drained
        for _ in range(2):
            if not keys or next(iter(keys.values())) > now:
                break
            keys.popitem(last=False)
        while len(keys) >= self._most_keys:
            keys.popitem(last=False)


def in_words(wait: float) -> str:
    """Say to people how long a wait is, in seconds or minutes; never less than it is."""
    seconds = max(1, ceil(wait))
    if seconds == 1:
        return "1 second"
    if seconds <= _LONGEST_IN_SECONDS:
        return f"{seconds} seconds"
    return f"{ceil(seconds / 60)} minutes"


def with_rate(throttle: Throttle | None, rate: Rate | None) -> Throttle | None:
    """Give a throttle for *rate*: the same one when it has it; None: there is no limit."""
    if rate is None:
        return None
    return throttle if throttle is not None and throttle.rate == rate else Throttle(rate)


@lru_cache(maxsize=4096)
def network_of(ip: str) -> str:
    """
    Tell who counts as one client.

    Args:
        ip: An address as text; IPv4 in its own form.

    Returns:
        An IPv4 address itself; the network of 64 bits of an IPv6 address, for its owner has
        all of that; anything else as it is.
    """
    if ":" not in ip:
        return ip
    try:
        whole = int(IPv6Address(ip))
    except ValueError:
        return ip
    return f"{IPv6Address(whole >> _IPV6_NETWORK << _IPV6_NETWORK)}/{_IPV6_NETWORK}"


_MOST_KNOWN = 4096
_known: dict[str, tuple[Networks, bool]] = {}
"""By address: for which networks it was looked up last. A cache by both would hash them all."""


def is_exempt(ip: str, networks: Networks) -> bool:
    """Tell whether *ip* is in one of *networks*; what is no address is in none."""
    known = _known.get(ip)
    if known is not None and known[0] is networks:
        return known[1]
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    found = _is_in(ip, networks)
    _known[ip] = (networks, found)
    return found


def _is_in(ip: str, networks: Networks) -> bool:
    try:
        address = ip_address(ip)
    except ValueError:
        return False
    return any(address in network for network in networks)
