"""What a client says over SMTP: RFC 5321, in groups as RFC 2920 allows."""

import re

from bench.errors import Unexpected
from bench.wire import Enough, Line, Talk

_REPLY = re.compile(rb"^(\d{3})[ \r]", re.MULTILINE)


def replies(count: int) -> Enough:
    """Make the test whether *count* whole replies came."""

    def enough(heard: bytearray) -> bool:
        return heard.endswith(b"\r\n") and len(_REPLY.findall(heard)) >= count

    return enough


_ONE = replies(1)


def greet(line: Line, *, tls: bool = False) -> Talk[bool]:
    """Hear the greeting, encrypt and say EHLO; tells whether the server takes groups."""
    _expect(b"220", (yield _ONE))
    heard = yield from _say_hello(line)
    if tls:
        line.send(b"STARTTLS\r\n")
        _expect(b"220", (yield _ONE))
        yield from line.start_tls()
        heard = yield from _say_hello(line)
    return b"PIPELINING" in heard


def _say_hello(line: Line) -> Talk[bytearray]:
    line.send(b"EHLO bench.example\r\n")
    heard = yield _ONE
    _expect(b"250", heard)
    return heard


def open_transaction(
    line: Line,
    group: list[bytes],
    pipelining: bool,  # noqa: FBT001 (what the server announced)
) -> Talk[list[bytes]]:
    """Say MAIL, RCPT and DATA; returns the code of each reply."""
    if pipelining:
        line.send(b"".join(group))
        heard = yield replies(len(group))
        return _REPLY.findall(heard)
    codes = []
    for command in group:
        line.send(command)
        codes += _REPLY.findall((yield _ONE))
    return codes


def send_content(line: Line, content: bytes) -> Talk[bytes]:
    """Send the content and its final dot in one; returns the reply's code."""
    line.send(content)
    heard = yield _ONE
    return bytes(heard[:3])


def quit_session(line: Line) -> Talk[None]:
    """Take leave, and hang up when the server has answered."""
    line.send(b"QUIT\r\n")
    _expect(b"221", (yield _ONE))
    line.close()


def _expect(code: bytes, heard: bytearray) -> None:
    if not heard.startswith(code):
        raise Unexpected(f"{code.decode()} expected, heard {bytes(heard[:200])!r}")
