"""The dot-stuffed multi-line text of SMTP and POP3; RFC 5321 section 4.5.2, RFC 1939 section 3."""

END = b"\r\n.\r\n"
_HEADS = tuple(END[:length] for length in range(4, 0, -1))


class DotReader:
    """
    Takes the dots out of content that arrives in pieces of any size.

    Only CRLF.CRLF ends the content: never a bare CR or LF, in no combination. They stay in
    the content and are noticed.
    """

    __slots__ = ("_fresh", "_held", "clean", "done", "rest")

    def __init__(self) -> None:
        self._held = b"\r\n"  # as if a line had just ended: the first line may be a dot
        self._fresh = True
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
        end = window.find(END)
        if end >= 0:
            self.done = True
            self.rest = window[end + len(END) :]
            content = window[: end + 2]
        else:
            held = next((head for head in _HEADS if window.endswith(head)), b"")
            self._held = held
            content = window[: len(window) - len(held)]
        return self._unstuff(content)

    def _unstuff(self, content: bytes) -> bytes:
        if not content:
            return content
        lines = content.count(b"\r\n")
        if self.clean and (
            content.count(b"\n") != lines or content.count(b"\r") != lines or b"\0" in content
        ):
            self.clean = False
        if b"\r\n." in content:
            content = content.replace(b"\r\n.", b"\r\n")
        if self._fresh:
            self._fresh = False
            return content[2:]
        return content


class DotWriter:
    """Puts the dots into content that leaves in pieces of any size."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"

    def feed(self, octets: bytes) -> bytes:
        """Take the next piece; give it as it goes on the wire."""
        window = self._tail + octets
        skip = len(self._tail)
        self._tail = window[-2:]
        return window.replace(b"\r\n.", b"\r\n..")[skip:]

    def finish(self) -> bytes:
        """Give what ends the text; a last line without CRLF gets one."""
        return b".\r\n" if self._tail == b"\r\n" else END
