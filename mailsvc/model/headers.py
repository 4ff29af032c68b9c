"""The header section of a message; RFC 5322 section 2.2."""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

LARGEST_HEADER = 256 * 1024
"""Octets of a message that are looked at as header; more is content to us."""

_VALUE = rb"([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n"
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:" + _VALUE)
_ALL_FIELDS = re.compile(rb"(?:[!-9;-~]+[ \t]*:" + _VALUE + rb")*+")


@lru_cache(maxsize=64)
def _lenient_pattern(name: bytes) -> re.Pattern[bytes]:
    # Lenient readers join lines, or drop odd white space, before they look for the colon.
    return re.compile(rb"(?m)^" + re.escape(name) + rb"[^!-~]*:")


@lru_cache(maxsize=64)
def _strict_pattern(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?im)^" + re.escape(name) + rb"[ \t]*:" + _VALUE)


@dataclass(frozen=True)
class Headers:
    """
    The header fields of one message, in order, found once.

    Args:
        octets: The start of the message; the header section ends at the first empty line.
    """

    octets: bytes

    @property
    def fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """Name in lower case and unfolded value of each field, in order."""
        found = _FIELD.findall(self.octets[: self._end])
        return tuple((name.lower(), _unfold(value)) for name, value in found)

    @property
    def whole(self) -> bool:
        """Whether all lines up to the first empty one are fields."""
        end = self._end
        # Where we stop looking, another field may begin.
        over = end == len(self.octets) < LARGEST_HEADER
        return over or self.octets.startswith(b"\r\n", end)

    @cached_property
    def _end(self) -> int:
        """Find where the fields end: at the first line that is none."""
        found = _ALL_FIELDS.match(self.octets, 0, LARGEST_HEADER)
        return 0 if found is None else found.end()

    @cached_property
    def section(self) -> bytes:
        """The header section without the empty line behind it, in lower case."""
        if self.octets.startswith(b"\r\n"):
            return b""
        return self.octets.partition(b"\r\n\r\n")[0][:LARGEST_HEADER].lower()

    def count(self, name: bytes) -> int:
        """Count the fields of one name, given in lower case, without taking all apart."""
        return len(_lenient_pattern(name).findall(self.section))

    def every(self, name: bytes) -> list[bytes]:
        """Give the values of all fields of one name, given in lower case, in order."""
        found = _strict_pattern(name).finditer(self.octets, 0, self._end)
        return [_unfold(one.group(1)) for one in found]

    def first(self, name: bytes) -> bytes | None:
        """Give the value of the first field of one name, given in lower case."""
        found = _strict_pattern(name).search(self.octets, 0, self._end)
        return None if found is None else _unfold(found.group(1))


def _unfold(value: bytes) -> bytes:
    return value.replace(b"\r\n", b"").strip()
