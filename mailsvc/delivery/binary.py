"""Turn BINARYMIME content into lines that every store and reader takes; RFC 3030 section 3."""

import re
from binascii import b2a_base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from mailsvc.config.units import KIB
from mailsvc.errors import MailError, StorageFull
from mailsvc.interfaces import IContent
from mailsvc.model.headers import LARGEST_HEADER, Headers
from mailsvc.model.status import Status
from mailsvc.spool import Spool, SpoolRoom
from mailsvc.store.deliveries import ContentGone

PIECE = 128 * KIB
"""Octets that are looked at before others get their turn."""
MOST_LEVELS = 100
"""Multiparts and messages inside each other."""
MOST_PARTS = 10_000
"""In one message; each costs some microseconds."""
_BASE64_LINE = 57
"""Octets that make 76 characters; RFC 2045 section 6.8."""

# A boundary has 70 characters at most, behind it may be white space; RFC 2046 section 5.1.1.
_DELIMITER = re.compile(rb"\r\n--([^\r\n]{1,200})(?=\r\n)")
_LAST_DELIMITER = re.compile(rb"\r\n--([^\r\n]{1,200})(?=\r\n|\Z)")
_HALF_DELIMITER = re.compile(rb"\r(?:\n(?:-(?:-[^\r\n]{0,200}\r?)?)?)?\Z")
_LONGEST_DELIMITER = 206
_ENCODING = re.compile(
    rb"(?im)^(content-transfer-encoding[ \t]*:)[^\r\n]*(?:\r\n[ \t][^\r\n]*)*(?=\r\n)"
)
_PARAMETER = re.compile(rb';\s*([^\s=;"]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;]*)')


class NotConvertible(MailError):
    """The message cannot become lines; RFC 3030 section 3."""

    status = Status(5, 6, 11)
    text = (
        "A bare CR, a bare LF or a NUL stands outside of the parts whose"
        " Content-Transfer-Encoding is binary"
    )


class TooManyParts(MailError):
    """Nobody writes such a message."""

    status = Status(5, 6, 0)
    text = "This message has too many parts, or a header in it is too large"


@dataclass(frozen=True)
class BinaryConversion:
    """
    Converts binary messages.

    Args:
        room: Where the new content is kept.
        clock: Lets others have their turn meanwhile.
    """

    room: SpoolRoom
    clock: IReactorTime

    async def convert(self, content: IContent) -> Spool | None:
        """
        Encode what is binary as base64, and leave every other octet as it came.

        A last line without CRLF gets one: it is sent so, and no signature minds it (RFC 6376
        sections 3.4.3 and 3.4.4).

        Returns:
            The new content, to be closed by the caller; None: it is lines as it is.

        Raises:
            NotConvertible: A bare CR, bare LF or NUL stands where nothing may be encoded.
            TooManyParts: Too many, too many inside each other, or a header is too large.
            ContentGone: *content* was closed meanwhile.
            StorageFull: There is no room for it.
        """
        lines = LineCheck()
        await self._read(content, lines.feed)
        if lines.clean and lines.ended:
            return None
        spool = Spool(self.room)
        try:
            await self._fill(spool, content, encode=not lines.clean)
        except OSError:
            spool.close()
            raise StorageFull from None
        except BaseException:
            spool.close()
            raise
        return spool

    async def _fill(self, spool: Spool, content: IContent, *, encode: bool) -> None:
        lines = LineCheck()

        def write(octets: bytes) -> None:
            lines.feed(octets)
            spool.write(octets)

        if encode:
            encoder = Encoder(write)
            await self._read(content, encoder.feed)
            encoder.finish()
        else:
            await self._read(content, write)
        if not lines.clean:
            raise NotConvertible
        if not lines.ended:
            spool.write(b"\r\n")

    async def _read(self, content: IContent, take: Callable[[bytes], None]) -> None:
        missing = content.octets
        for piece in content.pieces(PIECE):
            missing -= len(piece)
            take(piece)
            if missing > 0:
                await deferLater(self.clock, 0.0)
        if missing:
            raise ContentGone  # Its session gave up meanwhile: half a message is never stored.


class LineCheck:
    """Looks for a bare CR, a bare LF and NUL in octets that come in pieces."""

    __slots__ = ("_clean", "_open", "ended")

    def __init__(self) -> None:
        self._clean = True
        self._open = False
        self.ended = True
        """Whether the last line of clean octets has its end; nothing lacks none."""

    @property
    def clean(self) -> bool:
        """Whether there was none, if nothing more comes."""
        return self._clean and not self._open

    def feed(self, octets: bytes) -> None:
        """Take the next piece."""
        if not self._clean or not octets:
            return
        if self._open:
            octets = b"\r" + octets
        self._open = octets.endswith(b"\r")
        self.ended = octets.endswith(b"\n")
        bare = octets.translate(None, b"\r\n\0")
        ends = 2 * octets.count(b"\r\n") + self._open
        self._clean = len(octets) - len(bare) == ends


class _Level(NamedTuple):
    """A multipart that is not over."""

    boundary: bytes
    digest: bool


class _Base64:
    """Encodes octets that come in pieces; no line end behind the last line."""

    __slots__ = ("_kept", "_write", "began")

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._kept = b""
        self.began = False

    def feed(self, octets: bytes) -> None:
        octets = self._kept + octets
        full = len(octets) - len(octets) % _BASE64_LINE
        self._kept = octets[full:]
        self._lines(octets[:full])

    def finish(self) -> None:
        self._lines(self._kept)

    def _lines(self, octets: bytes) -> None:
        if not octets:
            return
        starts = range(0, len(octets), _BASE64_LINE)
        lines = (b2a_base64(octets[at : at + _BASE64_LINE], newline=False) for at in starts)
        self._write((b"\r\n" if self.began else b"") + b"\r\n".join(lines))
        self.began = True


class Encoder:
    """
    Walks through a message as it streams by, and encodes its binary leaves as base64.

    It keeps a header section and a line, never a body.

    Args:
        write: Takes the new content.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._out: list[bytes] = []
        self._levels: list[_Level] = []
        self._parts = 0
        self._boundaries: set[bytes] = set()
        self._buffer = b""
        self._at = 0
        self._header: bytearray | None = bytearray()
        self._default = b"text/plain"
        self._base64: _Base64 | None = None
        self._skip = 0

    def feed(self, octets: bytes) -> None:
        """Take the next piece; it may raise ``TooManyParts``, and what *write* raises."""
        self._work(octets, last=False)

    def finish(self) -> None:
        """Take the end."""
        self._work(b"", last=True)
        if self._base64 is not None:
            self._base64.finish()
            if self._base64.began:
                self._out.append(b"\r\n")
        self._flush()

    def _work(self, octets: bytes, *, last: bool) -> None:
        # The line end before a header stays: it may be the one of a delimiter.
        start = max(0, self._at - 2)
        self._buffer = self._buffer[start:] + octets
        self._at -= start
        while self._step(last=last):
            pass
        self._flush()

    def _flush(self) -> None:
        if self._out:
            self._write(b"".join(self._out))
            self._out.clear()

    def _step(self, *, last: bool) -> bool:
        """Go on to the next change between header and body; False: more must come first."""
        if self._header is None:
            return self._read_body(last=last)
        return self._read_header(self._header, last=last)

    # Headers.

    def _read_header(self, header: bytearray, *, last: bool) -> bool:
        """Read to the empty line, or to a delimiter where there is none."""
        while (end := self._buffer.find(b"\r\n", self._at)) >= 0:
            line = self._buffer[self._at : end]
            if not line:
                self._begin_body(bytes(header))
                return True
            if line.startswith(b"--") and self._has_ended(line[2:]):
                self._out.append(bytes(header))
                self._begin_body_of_nothing()
                return True
            header += line + b"\r\n"
            self._at = end + 2
            _check_size(len(header))
        _check_size(len(header) + len(self._buffer) - self._at)
        if last:
            self._out += (bytes(header), self._buffer[self._at :])
            self._at = len(self._buffer)
        return False

    def _has_ended(self, text: bytes) -> bool:
        text = text.rstrip(b" \t")
        return text in self._boundaries or text.removesuffix(b"--") in self._boundaries

    def _begin_body_of_nothing(self) -> None:
        """Let the body's code take the delimiter: the CRLF it looks for was written already."""
        self._header, self._base64 = None, None
        self._at -= 2
        self._skip = 2

    def _begin_body(self, header: bytes) -> None:
        """Decide what the body is; the empty line is still in the buffer."""
        fields = Headers(header + b"\r\n")
        kind, boundary = _content_type(fields.first(b"content-type"), self._default)
        binary = _is_binary(fields.first(b"content-transfer-encoding"))
        self._header, self._base64, self._skip = None, None, 2
        composite = bool(boundary) or (
            kind in {b"message/rfc822", b"message/global"} and (binary or _is_plain(fields))
        )
        if binary:
            # The parts will be clean; a composite type is never encoded: RFC 2045 section 6.4.
            header = _ENCODING.sub(rb"\1 8bit" if composite else rb"\1 base64", header)
        self._out += (header, b"\r\n")
        if boundary:
            self._enter(_Level(boundary, kind == b"multipart/digest"))
        elif composite:
            self._begin_message()
        elif binary:
            self._base64 = _Base64(self._out.append)

    def _enter(self, level: _Level) -> None:
        self._levels.append(level)
        self._boundaries.add(level.boundary)
        if len(self._levels) > MOST_LEVELS:
            raise TooManyParts

    def _begin_message(self) -> None:
        """Take the empty line for read: a header follows at once."""
        self._at += 2
        self._skip = 0
        self._header, self._default = bytearray(), b"text/plain"

    # Bodies.

    def _read_body(self, *, last: bool) -> bool:
        """Pass on what is no delimiter."""
        pattern = _LAST_DELIMITER if last else _DELIMITER
        for match in pattern.finditer(self._buffer, self._at):
            if self._has_ended(match[1]):
                self._pass_on(match.start())
                self._take_delimiter(match)
                return True
        end = len(self._buffer)
        if not last:
            half = _HALF_DELIMITER.search(self._buffer, max(self._at, end - _LONGEST_DELIMITER))
            end = half.start() if half else end
        self._pass_on(end)
        return False

    def _pass_on(self, end: int) -> None:
        """Write the body up to *end*, less what belongs to the empty line before it."""
        start = min(self._at + self._skip, len(self._buffer))
        self._skip -= min(self._skip, max(0, end - self._at))
        octets = self._buffer[start:end]
        self._at = end
        if self._base64 is not None:
            self._base64.feed(octets)
        elif octets:
            self._out.append(octets)

    def _take_delimiter(self, match: re.Match[bytes]) -> None:
        """End the part, and every multipart inside that was not closed."""
        if self._base64 is not None:
            self._base64.finish()
            self._base64 = None
        if not self._skip:
            self._out.append(b"\r\n")
        text = match[1].rstrip(b" \t")
        self._out.append(match.group()[2:])
        self._at, self._skip = match.end(), 0
        if text in self._boundaries:
            self._leave_to(text)
            self._begin_part()
        else:
            self._leave_to(text.removesuffix(b"--"))
            self._levels.pop()
        self._boundaries = {level.boundary for level in self._levels}

    def _leave_to(self, boundary: bytes) -> None:
        while self._levels[-1].boundary != boundary:
            self._levels.pop()

    def _begin_part(self) -> None:
        """Begin with a header behind the delimiter's line end."""
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise TooManyParts
        if self._buffer.startswith(b"\r\n", self._at):
            self._out.append(b"\r\n")
            self._at += 2
        self._header = bytearray()
        self._default = b"message/rfc822" if self._levels[-1].digest else b"text/plain"


def _check_size(octets: int) -> None:
    if octets > LARGEST_HEADER:
        raise TooManyParts


def _content_type(value: bytes | None, default: bytes) -> tuple[bytes, bytes]:
    """Give type and subtype in lower case, and the boundary of a multipart."""
    if value is None:
        return default, b""
    kind = value.partition(b";")[0].partition(b"(")[0].strip().lower()
    if not kind.startswith(b"multipart/"):
        return kind, b""
    parameters = {name.lower(): text for name, text in _PARAMETER.findall(value)}
    boundary = parameters.get(b"boundary", b"")
    if boundary.startswith(b'"'):
        boundary = re.sub(rb"\\(.)", rb"\1", boundary[1:-1])
    return kind, boundary.rstrip()


def _encoding(value: bytes | None) -> bytes:
    return (value or b"7bit").partition(b"(")[0].strip().lower()


def _is_binary(value: bytes | None) -> bool:
    return _encoding(value) == b"binary"


def _is_plain(fields: Headers) -> bool:
    """Whether a message stands inside as it is, not encoded against all rules."""
    return _encoding(fields.first(b"content-transfer-encoding")) in {b"7bit", b"8bit"}
