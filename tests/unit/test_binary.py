"""A message that came as BINARYMIME is stored as lines, and nothing of it is lost; RFC 3030."""

import time
from collections.abc import Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from tempfile import gettempdir

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailsvc.config.settings import SpoolSettings
from mailsvc.delivery.binary import (
    PIECE,
    BinaryConversion,
    Encoder,
    LineCheck,
    NotConvertible,
    TooManyParts,
)
from mailsvc.errors import StorageFull
from mailsvc.spool import Spool, SpoolRoom
from tests.support.mail_store import content

BINARY = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n"
ODD = b"\0\r\n\n\r--\r\n--b\r\n.\r\n\xff"
PAYLOADS = st.binary(max_size=200) | st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"\0", b"--", b"-", b"x", b"--outer", b"y" * 57])
).map(b"".join)


def encoded(octets: bytes, sizes: Sequence[int] = ()) -> bytes:
    """Convert octets that come in pieces of given sizes, and then the rest."""
    out: list[bytes] = []
    encoder, at = Encoder(out.append), 0
    for size in sizes:
        encoder.feed(octets[at : at + size])
        at += size
    encoder.feed(octets[at:])
    encoder.finish()
    return b"".join(out)


def parsed(octets: bytes) -> EmailMessage:
    """Read it with a parser that we did not write."""
    message = message_from_bytes(octets, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def leaves(octets: bytes) -> list[bytes]:
    """Give the decoded bodies of all leaves."""
    parts = [part for part in parsed(octets).walk() if not part.is_multipart()]
    payloads = [part.get_payload(decode=True) for part in parts]
    return [one if isinstance(one, bytes) else b"" for one in payloads]


def multipart(boundary: bytes, parts: Sequence[bytes], kind: bytes = b"mixed") -> bytes:
    """Put parts together: header, empty line, body each."""
    head = b'Content-Type: multipart/%s; boundary="%s"\r\n\r\n' % (kind, boundary)
    body = b"".join(b"--%s\r\n%s\r\n" % (boundary, part) for part in parts)
    return head + body + b"--%s--\r\n" % boundary


@st.composite
def entities(draw: st.DrawFn, depth: int = 3) -> tuple[bytes, list[bytes]]:
    """Make a MIME entity and tell what its leaves hold."""
    kinds = ["binary", "text"] + (["multipart", "message"] if depth else [])
    kind = draw(st.sampled_from(kinds))
    if kind == "binary":
        payload = draw(PAYLOADS)
        return BINARY + b"\r\n" + payload, [payload]
    if kind == "text":
        text = b"\r\n".join(draw(st.lists(st.sampled_from([b"", b"text", b"--", b"--x"]))))
        return b"Content-Type: text/plain\r\n\r\n" + text, [text]
    if kind == "message":
        inner, found = draw(entities(depth - 1))
        head = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        return head + b"Subject: inner\r\n" + inner, found
    parts = draw(st.lists(entities(depth - 1), min_size=1, max_size=3))
    boundary = b"level-%d" % depth
    whole = multipart(boundary, [part for part, _ in parts])
    head = b"Content-Transfer-Encoding: binary\r\n" if draw(st.booleans()) else b""
    return head + whole, [leaf for _, found in parts for leaf in found]


class TestEncoding:
    """What is binary becomes base64, the rest stays."""

    @given(entities())
    def test_every_payload_comes_back(self, entity: tuple[bytes, list[bytes]]) -> None:
        """Any octets in any part, at any depth, decoded by the standard library."""
        octets, expected = entity
        converted = encoded(b"Subject: x\r\n" + octets)

        assert leaves(converted) == expected
        assert b"binary" not in converted
        lines = LineCheck()
        lines.feed(converted)
        assert lines.clean
        assert max(map(len, converted.split(b"\r\n"))) <= 90

    @given(entities(), st.lists(st.integers(0, 40)))
    def test_any_pieces_give_the_same(
        self, entity: tuple[bytes, list[bytes]], sizes: list[int]
    ) -> None:
        """However the content is cut."""
        octets = entity[0]
        assert encoded(octets, sizes) == encoded(octets) == encoded(octets, [1] * len(octets))

    @given(st.binary(max_size=400), st.lists(st.integers(0, 40)))
    def test_any_octets_do(self, octets: bytes, sizes: list[int]) -> None:
        """What is no MIME at all passes as it is, in any pieces."""
        assert encoded(octets, sizes) == octets

    @given(st.lists(st.sampled_from([b"--a", b"--", b"\r\n", b"\r", b"--a--", b"--b", b"x: y"])))
    def test_broken_multiparts_pass(self, pieces: list[bytes]) -> None:
        """Delimiters where none belong, parts without a body: every octet stays."""
        octets = multipart(b"a", [multipart(b"b", [b"".join(pieces)])]) + b"".join(pieces)
        assert encoded(octets) == octets == encoded(octets, [1] * len(octets))

    def test_only_the_binary_part_changes(self) -> None:
        """Signed text beside it stays octet for octet, folded and commented fields too."""
        text = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xc3\xbc \r\n"
        odd = b"X: 1\r\ncontent-transfer-ENCODING:\r\n\tBinary (so)\r\nY: 2\r\n\r\n" + ODD

        converted = encoded(b"Subject: x\r\n" + multipart(b"q", [text, odd, text]))

        expected = b"X: 1\r\ncontent-transfer-ENCODING: base64\r\nY: 2\r\n\r\n"
        assert converted.count(text) == 2
        assert expected in converted
        assert leaves(converted)[1] == ODD

    def test_a_digest_holds_messages(self) -> None:
        """Its parts are messages by default; RFC 2046 section 5.1.5."""
        inner = b"\r\nSubject: a\r\n" + BINARY + b"\r\n" + ODD
        assert leaves(encoded(multipart(b"q", [inner], b"digest"))) == [ODD]

    def test_an_unclosed_multipart_ends_with_its_parent(self) -> None:
        """RFC 2046 section 5.1.2: the outer delimiter ends the inner parts."""
        inner = multipart(b"in", [BINARY + b"\r\n" + ODD]).removesuffix(b"\r\n--in--\r\n")
        converted = encoded(multipart(b"out", [inner, BINARY + b"\r\n1"]))
        assert leaves(converted) == [ODD, b"1"]

    def test_a_truncated_message_is_kept(self) -> None:
        """Without any end its binary part still ends with a line."""
        cut = multipart(b"q", [BINARY + b"\r\n" + ODD]).removesuffix(b"\r\n--q--\r\n")
        converted = encoded(cut)
        assert converted.endswith(b"\r\n")
        assert leaves(converted) == [ODD]

    @pytest.mark.parametrize(
        "octets",
        [
            b"".join(
                b"Content-Type: multipart/x; boundary=%d\r\n\r\n--%d\r\n" % (n, n)
                for n in range(200)
            ),
            b"Content-Type: multipart/x; boundary=a\r\n\r\n" + b"--a\r\n" * 20_000,
            b"x" * 300_000,
            b"x: y\r\n" * 60_000,
        ],
        ids=["depth", "parts", "line", "header"],
    )
    def test_memory_is_limited(self, octets: bytes) -> None:
        """Nobody writes such a message."""
        with pytest.raises(TooManyParts):
            encoded(octets)

    @pytest.mark.parametrize("unit", [b"\r\n--", b"\r\n--b", b"\r\n", b"\r", b"x", b"--a"])
    def test_time_is_limited(self, unit: bytes) -> None:
        """A megabyte of what looks like delimiters takes no longer than its length tells."""
        header = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"
        octets = header + unit * (1_000_000 // len(unit))
        began = time.process_time()
        assert encoded(octets, [PIECE] * 8) == octets
        assert time.process_time() - began < 5


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"x", b"\0"])))
def test_pieces_do_not_hide_bare_line_ends(pieces: list[bytes]) -> None:
    """Whatever the pieces are, the answer is that of the whole."""
    whole, parts = LineCheck(), LineCheck()
    whole.feed(b"".join(pieces))
    for piece in pieces:
        parts.feed(piece)

    rest = b"".join(pieces).replace(b"\r\n", b"")
    assert whole.clean == parts.clean == (not set(rest) & set(b"\r\n\0"))


class TestConversion:
    """From one spool to another."""

    def convert(self, octets: bytes, room: SpoolRoom | None = None) -> Spool | None:
        """Convert octets; others get their turn meanwhile."""
        clock = Clock()
        room = room or SpoolRoom(Path(gettempdir()), SpoolSettings(spare_disk=0))
        answers: list[Spool | None] = []
        conversion = BinaryConversion(room, clock)
        work = Deferred.fromCoroutine(conversion.convert(content(octets)))
        failures: list[BaseException] = []
        _ = work.addCallbacks(answers.append, lambda failure: failures.append(failure.value))
        for _ in range(1000):
            clock.advance(0)
        for failure in failures:
            raise failure
        return answers[0]

    @pytest.mark.parametrize("octets", [b"", b"x\r\n", BINARY + b"\r\nclean\r\n" * 30_000])
    def test_clean_content_is_left_alone(self, octets: bytes) -> None:
        """A declaration is no reason to change anything."""
        assert self.convert(octets) is None

    @pytest.mark.parametrize(
        ("octets", "expected"),
        [
            (b"x: y", b"x: y\r\n"),
            (b"x: y\r\n\r\n--", b"x: y\r\n\r\n--\r\n"),
            (BINARY + b"\r\nclean", BINARY + b"\r\nclean\r\n"),
            (BINARY + b"\r\n\0", BINARY.replace(b"binary", b"base64") + b"\r\nAA==\r\n"),
        ],
    )
    def test_the_last_line_ends_as_every_other(self, octets: bytes, expected: bytes) -> None:
        """POP3 sends its CRLF in any case, so it counts; signatures do not mind that one."""
        spool = self.convert(octets)

        assert spool is not None
        assert b"".join(spool.pieces(100)) == expected
        assert spool.octets == len(expected)

    def test_a_multipart_may_end_without_a_line_end(self) -> None:
        """Behind its last delimiter nothing needs to stand; RFC 2046 section 5.1.1."""
        whole = multipart(b"q", [BINARY + b"\r\n" + ODD])

        spool = self.convert(whole.removesuffix(b"\r\n"))

        assert spool is not None
        assert b"".join(spool.pieces(100)) == encoded(whole)

    def test_a_large_message_is_converted(self) -> None:
        """Beyond memory and beyond one piece."""
        payload = bytes(range(256)) * 4 * 1024
        room = SpoolRoom(Path(gettempdir()), SpoolSettings(message_memory=1000, spare_disk=0))

        spool = self.convert(BINARY + b"\r\n" + payload, room)

        assert spool is not None
        assert leaves(b"".join(spool.pieces(10_000))) == [payload]
        spool.close()
        assert room.used == 0

    @pytest.mark.parametrize(
        "octets",
        [
            b"Subject: bare\nline feed\r\n\r\n",
            b"Content-Transfer-Encoding: 8bit\r\n\r\na\nb\r\n",
            b"\r\nno MIME at all \0\r\n",
            b"a lonely end\r",
            multipart(b"q", [b"X: \r \r\n" + BINARY + b"\r\n" + ODD]),
        ],
    )
    def test_what_cannot_be_lines_is_refused(self, octets: bytes) -> None:
        """A part that says it has lines and has none is broken; RFC 3463: 5.6.11."""
        room = SpoolRoom(Path(gettempdir()), SpoolSettings(spare_disk=0))
        with pytest.raises(NotConvertible) as told:
            self.convert(octets, room)
        assert told.value.status.permanent
        assert room.used == 0

    def test_a_full_disk_puts_it_off(self) -> None:
        """The client keeps the message."""
        room = SpoolRoom(Path("/nowhere"), SpoolSettings(message_memory=1))
        with pytest.raises(StorageFull):
            self.convert(BINARY + b"\r\n" + ODD, room)
