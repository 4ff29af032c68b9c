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
