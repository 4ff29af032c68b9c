"""Dot-stuffing; RFC 5321 section 4.5.2. Stock Twisted forgets dots at the edges of chunks."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from mailsvc.wire.dots import DotReader, DotWriter, stuffed

PIECES = st.lists(st.sampled_from([b"\r\n", b".", b"a", b"\r\n.", b"..", b"bc", b"\r", b"\n"]))
CUTS = st.lists(st.integers(1, 5), min_size=1, max_size=30)


def cut(octets: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Cut octets into pieces of the given sizes; the rest is the last one."""
    found, at = [], 0
    for size in sizes:
        found.append(octets[at : at + size])
        at += size
    return [*found, octets[at:]]


@given(PIECES, CUTS)
def test_any_cut_is_stuffed_alike(pieces: list[bytes], sizes: list[int]) -> None:
    """Where a chunk ends makes no difference to the wire."""
    octets = b"".join(pieces)
    writer = DotWriter()
    out = b"".join(writer.feed(piece) for piece in cut(octets, sizes)) + writer.finish()

    expected = (b"\r\n" + octets).replace(b"\r\n.", b"\r\n..")[2:]
    expected += b"" if (b"\r\n" + octets).endswith(b"\r\n") else b"\r\n"
    assert out == expected + b".\r\n"
    assert stuffed(octets) == out


@given(PIECES, CUTS)
def test_what_was_stuffed_comes_back(pieces: list[bytes], sizes: list[int]) -> None:
    """Writer and reader undo each other, whatever the cuts; what follows stays apart."""
    octets = b"".join(pieces)
    writer, reader = DotWriter(), DotReader()
    wire = writer.feed(octets) + writer.finish() + b"QUIT\r\n"

    found, rest = b"", b""
    for piece in cut(wire, sizes):
        if reader.done:
            rest += piece
        else:
            found += reader.feed(piece)

    ended = octets if (b"\r\n" + octets).endswith(b"\r\n") else octets + b"\r\n"
    assert found == ended
    assert reader.rest + rest == b"QUIT\r\n"


@given(PIECES, CUTS)
def test_unclean_content_is_noticed_in_any_cut(pieces: list[bytes], sizes: list[int]) -> None:
    """A bare CR or LF is found also where two pieces meet."""
    octets = b"".join(pieces) + b"\r\n"
    writer, reader = DotWriter(), DotReader()
    wire = writer.feed(octets) + writer.finish()
    for piece in cut(wire, sizes):
        if not reader.done:
            reader.feed(piece)

    left = octets.replace(b"\r\n", b"")
    assert reader.clean == (b"\r" not in left and b"\n" not in left)


def test_a_piece_never_ends_inside_a_line_end() -> None:
    """So a line end can be repaired piece by piece."""
    reader = DotReader()

    assert reader.feed(b"a\r") == b"a"
    assert reader.feed(b"b\r") == b"\rb"
    assert reader.feed(b"\n") == b""
    assert reader.feed(b"c\r\n.\r\n") == b"\r\nc\r\n"
    assert reader.done
    assert not reader.clean


@given(st.lists(st.sampled_from([b"\r\n", b"\0", b"a", b"\xff", b"\r\n."])), CUTS)
def test_only_a_nul_is_unclean_among_octets_of_any_value(
    pieces: list[bytes], sizes: list[int]
) -> None:
    """Eight-bit text passes, with or without line ends."""
    octets = b"".join(pieces)
    writer, reader = DotWriter(), DotReader()
    for piece in cut(writer.feed(octets) + writer.finish(), sizes):
        if not reader.done:
            reader.feed(piece)

    assert reader.clean == (b"\0" not in octets)
