"""The dot-stuffed multi-line text of SMTP and POP3; RFC 5321 section 4.5.2, RFC 1939 section 3."""

import re
from io import IncrementalNewlineDecoder

END = b"\r\n.\r\n"
LINE_DOT = b"\r\n."
_TWO_DOTS = b"\r\n.."
_LINE_DOTS = re.compile(re.escape(LINE_DOT))
_LAST = b".\r\n"
_HEADS = tuple(END[:length] for length in range(4, 0, -1))
_CLEAN = (None, "\r\n")


class DotReader:
    """
    Takes the dots out of content that arrives in pieces of any size.

    Only CRLF.CRLF ends the content: never a bare CR or LF, in no combination. They stay in
    the content and are noticed.
    """

    __slots__ = ("_fresh", "_held", "_line_ends", "clean", "done", "rest")

    def __init__(self) -> None:
        self._held = b"\r\n"  # as if a line had just ended: the first line may be a dot
        self._fresh = True
        # It only notes what it has seen, in a fifth of the time of counting CRLF, CR and LF.
        self._line_ends = IncrementalNewlineDecoder(None, translate=False)
        self.done = False
        """Whether the end was seen."""
        self.clean = True
        """False: there was a bare CR, a bare LF or a NUL."""
        self.rest = b""
        """What came behind the end: the next commands."""

    def feed(self, octets: bytes) -> bytes:
        """
        Take the next piece; give what is certain to be content so far.

        A piece of the answer never ends between CR and LF.
        """
        window = self._held + octets
        dot = window.find(LINE_DOT)
        end = -1 if dot < 0 else window.find(END, dot)
        if end >= 0:
            self.done = True
            self.rest = window[end + len(END) :]
            content = window[: end + 2]
        else:
            held = next((head for head in _HEADS if window.endswith(head)), b"")
            self._held = held
            content = window[: len(window) - len(held)] if held else window
        if dot >= 0:
            # In half the time of replace, which searches twice: first it only counts.
            content = b"\r\n".join(content.split(LINE_DOT))
        return self._check(content)

    def _check(self, content: bytes) -> bytes:
        """Notice what is not clean, and drop the line end that we have made up."""
        if self.clean:
            self._line_ends.decode(str(content, "latin-1"))
            self.clean = self._line_ends.newlines in _CLEAN and b"\0" not in content
        if self._fresh and content:
            self._fresh = False
            return content[2:]
        return content


def stuffed(content: bytes, before: bytes = b"") -> bytes:
    """
    Put the dots into a whole content, and what ends the text behind it; as ``DotWriter``.

    Args:
        content: All of it.
        before: Stands in front of it as it is; here it costs no copy of its own.
    """
    text = _LINE_DOTS.sub(_TWO_DOTS, content)  # replace first counts, and takes twice as long
    first = b"." if content.startswith(b".") else b""
    last = _LAST if content.endswith(b"\r\n") or not content else END
    return b"".join((before, first, text, last))


class DotWriter:
    """Puts the dots into content that leaves in pieces of any size."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"

    def feed(self, octets: bytes) -> bytes:
        """Take the next piece; give it as it goes on the wire."""
        tail, self._tail = self._tail, (self._tail + octets[-2:])[-2:]
        first = b"" if (tail + octets[:2]).find(b"\r\n.") < 0 else tail
        if not first and b"\r\n." not in octets:
            return octets
        return (tail + octets).replace(b"\r\n.", b"\r\n..")[len(tail) :]

    def finish(self) -> bytes:
        """Give what ends the text; a last line without CRLF gets one."""
        return b".\r\n" if self._tail == b"\r\n" else END
