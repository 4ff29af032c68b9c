"""What POP3 answers: the only place that knows its status indicators and response codes."""

from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple

from mailsvc.errors import MailError
from mailsvc.model.status import Status
from mailsvc.wire.dots import DotWriter


class Reply(NamedTuple):
    """
    One answer to one command.

    Args:
        octets: As on the wire, CRLF included; a multi-line answer may go on in *rest*.
        rest: What follows, as on the wire, in pieces that fit in memory.
        last: Whether to hang up behind it.
        tls: Whether TLS begins behind it.
    """

    octets: bytes
    rest: AsyncIterator[bytes] | None = None
    last: bool = False
    tls: bool = False

    @property
    def failed(self) -> bool:
        """Whether it says ``-ERR``."""
        return self.octets.startswith(b"-")


def ok(text: bytes) -> Reply:
    """Say yes in one line; RFC 1939 section 3."""
    return Reply(b"+OK %b\r\n" % text)


def ok_lines(text: bytes, lines: Iterable[bytes]) -> Reply:
    """Say yes in some lines, each with its CRLF, that need no dot-stuffing."""
    return Reply(b"+OK %b\r\n%b.\r\n" % (text, b"".join(lines)))


def ok_content(text: bytes, content: bytes) -> Reply:
    """Say yes with content that is in memory."""
    dots = DotWriter()
    return Reply(b"+OK %b\r\n%b%b" % (text, dots.feed(content), dots.finish()))


def err(text: bytes, code: bytes = b"") -> Reply:
    """Say no in one line, with a response code of RFC 2449 section 8."""
    return Reply(b"-ERR [%b] %b\r\n" % (code, text) if code else b"-ERR %b\r\n" % text)


def refusal(error: MailError) -> Reply:
    """Say no as *error* does; RFC 2449 section 8.1.1, RFC 3206 sections 4 and 5."""
    return err(str(error).encode("ascii", "replace"), _code(error.status))


def finally_(reply: Reply) -> Reply:
    """Hang up behind *reply*."""
    return reply._replace(last=True)


_SECURITY = 7  # the subject of RFC 3463 section 3.8
_IN_USE = Status(4, 2, 0)


def _code(status: Status) -> bytes:
    if status == _IN_USE:
        return b"IN-USE"
    # RFC 3206 section 4: AUTH asks for another password, SYS/TEMP does not.
    if status.subject == _SECURITY and status.permanent:
        return b"AUTH"
    return b"SYS/PERM" if status.permanent else b"SYS/TEMP"


GREETING = ok(b"mailsvc ready")
DONE = ok(b"done")
USER_TAKEN = ok(b"now the password")
WELCOME = ok(b"welcome")
BEGIN_TLS = ok(b"begin TLS now")._replace(tls=True)
MARKED = ok(b"marked as deleted")
BYE = finally_(ok(b"good-bye"))

UNKNOWN = err(b"no such command")
WRONG_STATE_BEFORE_LOGIN = err(b"log in first")
WRONG_STATE_AFTER_LOGIN = err(b"you are logged in")
BAD_ARGUMENT = err(b"these arguments are not possible")
NO_SUCH_MESSAGE = err(b"no such message")
NEED_USER = err(b"USER comes first")
NEED_TLS = err(b"no login on a connection without TLS; switch TLS on in your mail program")
HAS_TLS = err(b"the connection has TLS already")
NO_TLS = err(b"TLS is not offered here")
NOTHING_BEHIND = finally_(err(b"nothing may follow STLS before TLS"))
TOO_LONG = err(b"the line is too long")
BARE_LF = err(b"lines end in CRLF")
FAULT = err(b"our fault; please try again later", b"SYS/TEMP")
BAD_LOGIN = err(b"User name or password is wrong", b"AUTH")
# RFC 1939 section 6 has this text.
NOT_REMOVED = finally_(err(b"some deleted messages not removed", b"SYS/TEMP"))
TOO_MANY_ERRORS = finally_(err(b"too many errors"))
TOO_MANY_OF_CLIENT = finally_(
    err(b"too many connections from your address; please try again later", b"SYS/TEMP")
)
TOO_MANY_CONNECTIONS = finally_(err(b"too many connections; please try again later", b"SYS/TEMP"))
