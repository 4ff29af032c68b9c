"""Sizes and times as people write them: ``25 MiB``, ``5m``."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

_SIZES = {"": 1, "b": 1, "kib": KIB, "mib": MIB, "gib": GIB}
_TIMES = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LARGEST = float(1 << 62)
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


Octets = Annotated[int, BeforeValidator(parse_octets), Field(gt=0)]
"""A size above 0."""
OctetsOrNone = Annotated[int, BeforeValidator(parse_octets), Field(ge=0)]
"""A size; 0 switches the thing off."""
Seconds = Annotated[float, BeforeValidator(parse_seconds), Field(gt=0)]
"""A duration above 0."""
SecondsOrNone = Annotated[float, BeforeValidator(parse_seconds), Field(ge=0)]
"""A duration; 0 switches the thing off."""
Count = Annotated[int, Field(gt=0, strict=True)]
"""A whole number above 0."""
