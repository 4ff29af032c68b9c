"""Sizes, times, rates and networks as people write them: ``25 MiB``, ``5m``, ``600/1h``."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, Field, PlainSerializer

from mailsvc.model.address import parse_domain

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

_SIZES = {"": 1, "b": 1, "kib": KIB, "mib": MIB, "gib": GIB}
_TIMES = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LARGEST = float(1 << 62)
_LONGEST_AGE = 36_500 * _TIMES["d"]
_MEASURE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def parse_octets(value: object) -> int:
    """
    Read a size: a number of octets, or a text such as ``256 KiB``.

    Raises:
        ValueError: It is no size; the message says what is allowed.
    """
    return round(_parse(value, _SIZES, "a size is octets, or a number with KiB, MiB or GiB"))


def parse_seconds(value: object) -> float:
    """
    Read a duration: a number of seconds, or a text such as ``5m``.

    Raises:
        ValueError: It is no duration; the message says what is allowed.
    """
    return _parse(value, _TIMES, "a time is seconds, or a number with s, m, h or d")


def parse_age(value: object) -> float:
    """
    Read how long something is kept, in seconds; for a century at most.

    Raises:
        ValueError: It is no such duration; the message says what is allowed.
    """
    seconds = parse_seconds(value)
    if not 0 < seconds <= _LONGEST_AGE:
        raise ValueError("it should be above 0 and at most 36500d; null is for ever")
    return seconds


class Rate(NamedTuple):
    """
    So many in so long.

    Args:
        amount: How many; at least 1.
        seconds: In how long.
    """

    amount: int
    seconds: float


def parse_rate(value: object) -> Rate:
    """
    Read a rate such as ``600/1h``.

    Raises:
        ValueError: It is no rate; the message says what is allowed.
    """
    allowed = "a rate is a number, a slash and a time, such as 600/1h"
    if isinstance(value, Rate):
        return value
    count, slash, time = value.partition("/") if isinstance(value, str) else ("", "", "")
    if not slash or not count.strip().isdecimal() or int(count) < 1:
        raise ValueError(allowed)
    seconds = parse_seconds(time.strip() if time.strip()[:1].isdecimal() else f"1{time.strip()}")
    if seconds <= 0:
        raise ValueError(allowed)
    return Rate(int(count), seconds)


def format_octets(octets: int) -> int | str:
    """Write a size as ``parse_octets`` reads it: in the largest unit of which it is whole."""
    for name, unit in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if octets and octets % unit == 0:
            return f"{octets // unit} {name}"
    return octets


def format_seconds(seconds: float) -> float | str:
    """Write a duration as ``parse_seconds`` reads it; a part of a second stays a number."""
    if not seconds.is_integer():
        return seconds
    for name in ("d", "h", "m"):
        if seconds and seconds % _TIMES[name] == 0:
            return f"{seconds / _TIMES[name]:.0f}{name}"
    return f"{seconds:.0f}s"


def format_rate(rate: Rate) -> str:
    """Write a rate as ``parse_rate`` reads it."""
    written = format_seconds(rate.seconds)
    return f"{rate.amount}/{written if isinstance(written, str) else f'{written:f}s'}"


def parse_network(value: object) -> IPv4Network | IPv6Network:
    """
    Read a network such as ``192.0.2.0/24``; an address is a network of its own.

    Raises:
        ValueError: It is no network; the message says what is allowed.
    """
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        # It takes numbers, too: nobody means them.
        written = ip_interface(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(
            "a network is an address and the bits that count, such as 192.0.2.0/24 or "
            '"2001:db8::/32"'
        ) from None
    if written.ip != written.network.network_address:
        raise ValueError(f"its network is {written.network}")
    return written.network


def parse_host(value: str) -> str:
    """
    Read the name or the address of another server.

    Raises:
        ValueError: It is neither.
    """
    try:
        return str(ip_address(value))
    except ValueError:
        return parse_domain(value, utf8=True)


def parse_name_server(value: str) -> str:
    """
    Read the address of a name server; a port may follow: ``192.0.2.53:5353``, ``[2001:db8::1]:53``.

    Raises:
        ValueError: It is none.
    """
    split_endpoint(value, 53)
    return value


def split_endpoint(text: str, port: int) -> tuple[str, int]:
    """
    Take an address and its port apart.

    Args:
        port: Where none stands there.

    Raises:
        ValueError: It is no address.
    """
    host, number = text, ""
    if text.startswith("["):
        host, _, number = text[1:].partition("]")
        number = number.removeprefix(":")
    elif text.count(":") == 1:
        host, _, number = text.partition(":")
    if number and not (number.isascii() and number.isdigit() and 0 < int(number) < 1 << 16):
        raise ValueError("a port is a number from 1 to 65535")
    return str(ip_address(host)), int(number or port)


def parse_route(value: str) -> str:
    """
    Read the domains that go one way: one, ``.domain`` for all below it, or ``*`` for all.

    Raises:
        ValueError: It is none of these.
    """
    if value == "*":
        return value
    dot = "." if value.startswith(".") else ""
    return dot + parse_domain(value.removeprefix("."), utf8=True)


def _parse(value: object, units: dict[str, float] | dict[str, int], allowed: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) <= _LARGEST:  # also what YAML calls .inf and .nan
            raise ValueError(allowed)
        return float(value)
    match = _MEASURE.fullmatch(value) if isinstance(value, str) else None
    if match is None or match.group(2).lower() not in units:
        raise ValueError(allowed)
    amount = float(match.group(1)) * units[match.group(2).lower()]
    if amount > _LARGEST:
        raise ValueError(allowed)
    return amount


_AS_SIZE = PlainSerializer(format_octets)
_AS_TIME = PlainSerializer(lambda value: None if value is None else format_seconds(value))

Octets = Annotated[int, BeforeValidator(parse_octets), Field(gt=0), _AS_SIZE]
"""A size above 0."""
OctetsOrNone = Annotated[int, BeforeValidator(parse_octets), Field(ge=0), _AS_SIZE]
"""A size; 0 switches the thing off."""
Seconds = Annotated[float, BeforeValidator(parse_seconds), Field(gt=0), _AS_TIME]
"""A duration above 0."""
SecondsOrNone = Annotated[float, BeforeValidator(parse_seconds), Field(ge=0), _AS_TIME]
"""A duration; 0 switches the thing off."""
Age = Annotated[
    float | None,
    BeforeValidator(lambda value: None if value is None else parse_age(value)),
    _AS_TIME,
]
"""How long something is kept; null: for ever."""
Count = Annotated[int, Field(gt=0, strict=True)]
"""A whole number above 0."""
CountOrNone = Annotated[int, Field(ge=0, strict=True)] | None
"""A whole number; null: no limit."""
RateOrNone = Annotated[
    Rate | None,
    BeforeValidator(lambda value: None if value is None else parse_rate(value)),
    PlainSerializer(lambda value: None if value is None else format_rate(value)),
]
"""A rate; null: no limit."""
