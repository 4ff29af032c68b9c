"""Make one spelling of the many of a name or a password; SASLprep, RFC 4013."""

import stringprep
import unicodedata
from collections.abc import Callable

_FORBIDDEN: tuple[Callable[[str], bool], ...] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)
"""RFC 4013 section 2.3."""


def prepare(text: str) -> str:
    """
    Prepare a name or a password for comparison.

    Deviates from RFC 4013 section 2.5: code points that Unicode 3.2 did not know are allowed,
    for people use them, and clients that prepare "queries" send them.

    Raises:
        ValueError: It holds what no such text may hold.
    """
    mapped = "".join(_mapped(char) for char in text if not stringprep.in_table_b1(char))
    made = unicodedata.normalize("NFKC", mapped)
    if any(forbidden(char) for char in made for forbidden in _FORBIDDEN):
        raise ValueError("a character is not allowed")
    _check_directions(made)
    return made


def prepare_octets(octets: bytes) -> bytes:
    """Prepare a password; one that cannot be prepared stays as it is."""
    if octets.isascii():
        return octets  # there is one spelling
    try:
        return prepare(octets.decode("utf-8")).encode("utf-8")
    except ValueError:
        return octets


def _mapped(char: str) -> str:
    """Make every space a plain one; RFC 4013 section 2.1."""
    return " " if stringprep.in_table_c12(char) else char


def _check_directions(text: str) -> None:
    """Refuse what is written partly from the right; RFC 3454 section 6."""
    if not any(stringprep.in_table_d1(char) for char in text):
        return
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    if not ends or any(stringprep.in_table_d2(char) for char in text):
        raise ValueError("two directions of writing in one text")
