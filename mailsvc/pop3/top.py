"""Cut a message behind its header and some lines of its body; RFC 1939 section 7, TOP."""


class TopCutter:
    """
    Lets the header, the empty line and some lines through, whatever the pieces are.

    Args:
        lines: Of the body.
    """

    __slots__ = ("_in_header", "_left", "_tail", "done")

    def __init__(self, lines: int) -> None:
        self._left = lines
        self._in_header = True
        self._tail = b"\r\n"  # as if a line had just ended: the header may be empty
        self.done = False
        """Whether nothing more will come through."""

    def feed(self, piece: bytes) -> bytes:
        """Take the next piece; give what may pass."""
        if self.done:
            return b""
        if not self._in_header:
            return self._lines(piece)
        window = self._tail + piece
        empty = window.find(b"\r\n\r\n")
        if empty < 0:
            self._tail = window[-3:]
            return piece
        body = empty + 4 - len(self._tail)
        self._in_header, self._tail = False, b""
        return piece[:body] + self._lines(piece[body:])

    def _lines(self, piece: bytes) -> bytes:
        """Let the lines through that are left."""
        window = self._tail + piece
        ends = window.count(b"\r\n")
        if ends < self._left:
            self._left -= ends
            self._tail = b"\r" if window.endswith(b"\r") else b""
            return piece
        end = 0
        for _ in range(self._left):
            end = window.index(b"\r\n", end) + 2
        self.done = True
        return window[len(self._tail) : end]
