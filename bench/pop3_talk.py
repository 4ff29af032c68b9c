"""What a client says over POP3, RFC 1939, and what it makes of the answers."""

from bench import messages
from bench.errors import Unexpected
from bench.wire import Enough, Line, Talk

_END = b"\r\n.\r\n"


def line_came(heard: bytearray) -> bool:
    """Tell whether an answer of one line is whole."""
    return heard.endswith(b"\r\n")


def lines_came(heard: bytearray) -> bool:
    """Tell whether an answer of many lines, or an error instead, is whole."""
    return heard.endswith(_END) or (heard.startswith(b"-") and heard.endswith(b"\r\n"))


def answers(count: int) -> Enough:
    """Make the test whether *count* answers of many lines are whole."""
    found = seen = 0

    def enough(heard: bytearray) -> bool:
        nonlocal found, seen
        found += heard.count(_END, seen)
        seen = max(0, len(heard) - len(_END) + 1)
        return found >= count or (heard.startswith(b"-") and line_came(heard))

    return enough


def ask(line: Line, command: bytes, enough: Enough = line_came) -> Talk[bytearray]:
    """Say a command and hear its answer; Unexpected when that is an error."""
    line.send(command)
    heard = yield enough
    _expect_ok(heard)
    return heard


def arrive(line: Line) -> Talk[None]:
    """Connect and hear the greeting."""
    line.connect()
    _expect_ok((yield line_came))


def log_in(line: Line, address: str, password: str) -> Talk[None]:
    """Say USER and PASS."""
    yield from ask(line, b"USER %s\r\n" % address.encode())
    yield from ask(line, b"PASS %s\r\n" % password.encode())


def count(line: Line) -> Talk[tuple[int, int]]:
    """Ask STAT; returns messages and octets."""
    heard = yield from ask(line, b"STAT\r\n")
    _, number, octets = heard.split()[:3]
    return int(number), int(octets)


def leave(line: Line) -> Talk[None]:
    """Say QUIT, and hang up when that was answered."""
    yield from ask(line, b"QUIT\r\n")
    line.close()


def retr(first: int, last: int) -> bytes:
    """Write the commands that fetch messages *first* to *last*."""
    return b"".join(b"RETR %d\r\n" % number for number in range(first, last + 1))


def contents(heard: bytes) -> list[bytes]:
    """Take the messages out of the answers to RETR, their doubled dots single again."""
    found = []
    for answer in heard.split(_END)[:-1]:
        status, end, content = (answer + b"\r\n").partition(b"\r\n")
        _expect_ok(bytearray(status))
        found.append((end + content).replace(b"\r\n..", b"\r\n.")[2:])
    return found


def tokens(heard: bytes) -> list[bytes]:
    """
    Name the messages in the answers to RETR, each compared whole.

    Raises:
        Damaged: One is not what was sent.
    """
    return [messages.check(content) for content in contents(heard)]


def _expect_ok(heard: bytearray) -> None:
    if not heard.startswith(b"+OK"):
        raise Unexpected(f"+OK expected, heard {bytes(heard[:200])!r}")
