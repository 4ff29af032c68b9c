"""The header section of a message; RFC 5322 section 2.2."""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

LARGEST_HEADER = 256 * 1024
"""Octets of a message that are looked at as header; more is content to us."""

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n")


@lru_cache(maxsize=64)
def _field_pattern(name: bytes) -> re.Pattern[bytes]:
    # Lenient readers join lines, or drop odd white space, before they look for the colon.
    return re.compile(rb"(?m)^" + re.escape(name) + rb"[^!-~]*:")


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
        return self._read[0]

    @property
    def whole(self) -> bool:
        """Whether all lines up to the first empty one are fields."""
        end = self._read[1]
        # Where we stop looking, another field may begin.
        over = end == len(self.octets) < LARGEST_HEADER
        return over or self.octets.startswith(b"\r\n", end)

    @cached_property
    def _read(self) -> tuple[tuple[tuple[bytes, bytes], ...], int]:
        """Find the fields, and where they end."""
        found: list[tuple[bytes, bytes]] = []
        at = 0
        while field := _FIELD.match(self.octets, at, LARGEST_HEADER):
            name, value = field.groups()
            found.append((name.lower(), value.replace(b"\r\n", b"").strip()))
            at = field.end()
        return tuple(found), at

    @cached_property
    def section(self) -> bytes:
        """The header section without the empty line behind it, in lower case."""
        if self.octets.startswith(b"\r\n"):
            return b""
        return self.octets.partition(b"\r\n\r\n")[0][:LARGEST_HEADER].lower()

    def count(self, name: bytes) -> int:
        """Count the fields of one name, given in lower case, without taking all apart."""
        return len(_field_pattern(name).findall(self.section))

    def every(self, name: bytes) -> list[bytes]:
        """Give the values of all fields of one name, given in lower case, in order."""
        return [value for found, value in self.fields if found == name]

    def first(self, name: bytes) -> bytes | None:
        """Give the value of the first field of one name, given in lower case."""
        return next((value for found, value in self.fields if found == name), None)
