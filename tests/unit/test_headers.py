"""The header section; RFC 5322 section 2.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.model.headers import LARGEST_HEADER, Headers

MESSAGE = (
    b"Received: one\r\nreceived : two\r\nSubject: a\r\n\tb\r\nX: Received: no\r\n\r\n"
    b"Received: in the body\r\n"
)


def test_fields_are_read_and_unfolded() -> None:
    """Names in lower case, values in one line, nothing of the body."""
    assert Headers(MESSAGE).fields == (
        (b"received", b"one"),
        (b"received", b"two"),
        (b"subject", b"a\tb"),
        (b"x", b"Received: no"),
    )
    assert Headers(MESSAGE).first(b"subject") == b"a\tb"
    assert Headers(MESSAGE).first(b"date") is None
    assert Headers(MESSAGE).every(b"received") == [b"one", b"two"]


def test_counting_agrees_with_reading() -> None:
    """Fields of the body, and texts inside values, do not count."""
    assert Headers(MESSAGE).count(b"received") == 2
    assert Headers(b"\r\nReceived: x\r\n").count(b"received") == 0
    assert Headers(b"").count(b"received") == 0


@pytest.mark.parametrize("gap", [b"\r\n ", b"\xc2\xa0", b"\x0b", b"\t\r\n\t"])
def test_counting_finds_what_lenient_readers_find(gap: bytes) -> None:
    """Some join lines, or drop odd white space, before they look for the colon."""
    assert Headers(b"A: b\r\nReceived" + gap + b": x\r\n\r\n").count(b"received") == 1
    assert Headers(b"Received-SPF: x\r\nReceived x: y\r\n\r\n").count(b"received") == 0


@given(st.binary(max_size=300))
def test_no_octets_break_the_reader(octets: bytes) -> None:
    """Whatever comes, there is an answer."""
    headers = Headers(octets)
    assert len(headers.fields) >= 0
    assert headers.count(b"received") >= 0


@pytest.mark.parametrize(
    ("octets", "whole"),
    [
        (MESSAGE, True),
        (b"", True),
        (b"\r\nbody", True),
        (b"A: b\r\n", True),
        (b"A: b\r\nno field\r\n\r\n", False),
        (b"A: b", False),
        (b" A: b\r\n\r\n", False),
        (b"A:" + b"b" * (LARGEST_HEADER - 4) + b"\r\n", False),
    ],
)
def test_a_line_that_is_no_field_is_noticed(octets: bytes, *, whole: bool) -> None:
    """Some readers stop there, others read on: nobody shall profit from that."""
    assert Headers(octets).whole == whole


PIECES = st.sampled_from(
    [
        *(b"\r\n", b"\r\n", b"\r\n", b"\r\n\r\n", b"\r", b"\n", b" ", b"\t", b"\x0b", b"\xa0"),
        *(b":", b": ", b"a:b", b"x", b"X", b"to", b"To: ", b"TO:", b"to :", b"to", b"to\t:"),
        *(b"\r\n ", b"\r\n\t", b"\r\nto:", b"\r\nTo: x", b"!", b"~", b"\x7f", b"\x00", b"a b"),
    ]
)
SECTIONS = st.lists(PIECES, max_size=30).map(b"".join)
"""What may stand at the start of a message, in pieces that matter."""


class _Slow:
    """The header section, read line by line."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.fields: list[tuple[bytes, bytes]] = []
        rest = octets
        while (end := self._read_field(rest)) is not None:
            rest = rest[end:]
        self.whole = not rest or rest.startswith(b"\r\n")

    def _read_field(self, octets: bytes) -> int | None:
        """Take one field; give its size."""
        first, *others = octets.split(b"\r\n")[:-1] or [b""]
        head, colon, value = first.partition(b":")
        name = head.rstrip(b" \t")
        if not (colon and name and self._is_line(value)) or any(not 32 < one < 127 for one in name):
            return None
        lines = [value]
        for other in others:
            if not (other.startswith((b" ", b"\t")) and self._is_line(other)):
                break
            lines.append(other)
        self.fields.append((name.lower(), b"".join(lines).strip()))
        return len(head + colon) + sum(len(line) + 2 for line in lines)

    @staticmethod
    def _is_line(octets: bytes) -> bool:
        return b"\r" not in octets and b"\n" not in octets

    def every(self, name: bytes) -> list[bytes]:
        """Give all values of a name."""
        return [value for one, value in self.fields if one == name]

    def count(self, name: bytes) -> int:
        """Count what lenient readers may take for a field: odd octets before the colon."""
        section = b"" if self.octets.startswith(b"\r\n") else self.octets.split(b"\r\n\r\n")[0]
        found = 0
        for start in range(len(section)):
            if start > 0 and section[start - 1 : start] != b"\n":
                continue
            behind = section[start + len(name) :]
            starts_so = section[start:].lower().startswith(name)
            found += starts_so and behind.lstrip(_ODD).startswith(b":")
        return found


_ODD = bytes({*range(256)} - {*range(33, 127)})


@given(SECTIONS)
def test_fields_are_those_that_a_patient_reader_finds(octets: bytes) -> None:
    """Whatever stands there: white space, line ends that are none, fields that are none."""
    headers, slow = Headers(octets), _Slow(octets)

    assert list(headers.fields) == slow.fields
    assert headers.whole == slow.whole
    for name in (b"to", b"a", b"x", b"!"):
        assert headers.every(name) == slow.every(name)
        assert headers.first(name) == next(iter(slow.every(name)), None)
        assert headers.count(name) == slow.count(name)


@given(SECTIONS)
def test_no_field_is_hidden_from_the_count(octets: bytes) -> None:
    """Whoever counts finds at least what whoever reads finds."""
    headers = Headers(octets)

    for name in (b"to", b"a", b"x", b"!"):
        assert headers.count(name) >= len(headers.every(name))


@pytest.mark.parametrize(
    "piece",
    [b"a:\r\n", b"a:\r\n ", b"a", b" ", b"a \r\n", b"to", b"to \r\n", b"a:b\r\n c\r\n\r", b":"],
)
def test_a_hostile_header_is_read_in_time(piece: bytes) -> None:
    """However often it repeats what almost is a field, its size says how long that takes."""
    octets = piece * (LARGEST_HEADER // len(piece))
    headers = Headers(octets)

    assert len(headers.fields) <= octets.count(b"a:")
    assert headers.count(b"to") == len(headers.every(b"to")) == 0
