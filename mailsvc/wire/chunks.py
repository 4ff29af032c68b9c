"""Content that comes in counted pieces; RFC 3030 section 2."""


class ChunkReader:
    """
    Looks at content that arrives in pieces of any size: are all its lines clean.

    A piece of the answer never ends between CR and LF.
    """

    __slots__ = ("_held", "_tail", "clean")

    def __init__(self) -> None:
        self._held = b""
        self._tail = b""
        self.clean = True
        """False: there was a bare CR, a bare LF or a NUL."""

    def feed(self, octets: bytes) -> bytes:
        """Take the next piece; give what is complete so far."""
        piece = self._held + octets if self._held else octets
        self._held = b"\r" if piece.endswith(b"\r") else b""
        if self._held:
            piece = piece[:-1]
        if piece:
            self._tail = piece[-1:]
        if self.clean:
            # Without CR, LF and NUL it is shorter by two octets a line, or there is a bare one.
            bare = piece.translate(None, b"\r\n\0")
            self.clean = len(piece) - len(bare) == 2 * piece.count(b"\r\n")
        return piece

    def finish(self, *, text: bool) -> bytes:
        """
        Give what was held back at the end.

        Args:
            text: Its last line ends in CRLF, also when the client has not said so.
        """
        held, self._held = self._held, b""
        if held:
            self.clean = False
            return held
        return b"\r\n" if text and self._tail not in {b"", b"\n"} else b""
