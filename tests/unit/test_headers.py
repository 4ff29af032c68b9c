"""The header section; RFC 5322 section 2.2."""

from hypothesis import given
from hypothesis import strategies as st

from mailsvc.model.headers import Headers

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


def test_counting_agrees_with_reading() -> None:
    """Fields of the body, and texts inside values, do not count."""
    assert Headers(MESSAGE).count(b"received") == 2
    assert Headers(b"\r\nReceived: x\r\n").count(b"received") == 0
    assert Headers(b"").count(b"received") == 0


@given(st.binary(max_size=300))
def test_no_octets_break_the_reader(octets: bytes) -> None:
    """Whatever comes, there is an answer."""
    headers = Headers(octets)
    assert len(headers.fields) >= 0
    assert headers.count(b"received") >= 0
