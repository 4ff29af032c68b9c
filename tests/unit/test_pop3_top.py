"""TOP's cut; RFC 1939 section 7."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.pop3.top import TopCutter

pieces_of_mail = st.lists(
    st.lists(
        st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"a", b"\r\n\r\n", b"Subject: x\r\n"]),
        max_size=6,
    ).map(b"".join),
    max_size=8,
)


def cut(lines: int, *pieces: bytes) -> bytes:
    """Cut a message that comes in pieces."""
    cutter = TopCutter(lines)
    return b"".join(cutter.feed(piece) for piece in pieces)


MESSAGE = b"Subject: x\r\nTo: y\r\n\r\none\r\ntwo\r\nthree\r\n"


@pytest.mark.parametrize(
    ("lines", "end"),
    [(0, b"\r\n\r\n"), (1, b"one\r\n"), (2, b"two\r\n"), (3, b"three\r\n"), (99, b"three\r\n")],
)
def test_header_and_so_many_lines_come_through(lines: int, end: bytes) -> None:
    """TOP n 2 shows the header, the empty line and two lines."""
    assert cut(lines, MESSAGE) == MESSAGE[: MESSAGE.index(end) + len(end)]


def test_a_message_without_a_body_comes_whole() -> None:
    """A message that is all header is shown whole."""
    assert cut(0, b"Subject: x\r\n") == b"Subject: x\r\n"


def test_a_message_without_a_header_begins_with_its_body() -> None:
    """A message that begins with an empty line has an empty header."""
    assert cut(1, b"\r\none\r\ntwo\r\n") == b"\r\none\r\n"


def test_a_last_line_without_an_end_counts() -> None:
    """Stock Twisted drops a last line that has no line end."""
    assert cut(2, b"\r\none\r\ntwo") == b"\r\none\r\ntwo"


def test_a_line_may_be_of_any_length() -> None:
    """Stock Twisted ends the output at a body line of more than 16 KiB."""
    line = b"x" * 100_000 + b"\r\n"
    assert cut(1, b"\r\n" + line + line) == b"\r\n" + line


@pytest.mark.parametrize("edge", range(len(MESSAGE)))
@pytest.mark.parametrize("lines", range(4))
def test_no_edge_matters(edge: int, lines: int) -> None:
    """Not even one in the middle of the empty line."""
    assert cut(lines, MESSAGE[:edge], MESSAGE[edge:]) == cut(lines, MESSAGE)


@given(pieces_of_mail, st.integers(0, 5))
def test_the_edges_of_pieces_do_not_matter(pieces: list[bytes], lines: int) -> None:
    """A large message that is stored in pieces is cut where a small one is."""
    assert cut(lines, *pieces) == cut(lines, b"".join(pieces))
