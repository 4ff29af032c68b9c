"""What POP3 answers: the only place that knows its status indicators and response codes."""

from base64 import b64encode
from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple

from mailsvc.errors import LoginFailed, LoginForbidden, LoginTooSoon, MaildropInUse, MailError
from mailsvc.wire.dots import stuffed


class Reply(NamedTuple):
    """
    One answer to one command.

    Args:
        octets: As on the wire, CRLF included; a multi-line answer may go on in *rest*.
        rest: What follows, as on the wire, in pieces that fit in memory.
        last: Whether to hang up behind it.
        tls: Whether TLS begins behind it.
        late: Whether it is held back for a while.
    """

    octets: bytes
    rest: AsyncIterator[bytes] | None = None
    last: bool = False
    tls: bool = False
    late: bool = False

    @property
    def failed(self) -> bool:
        """Whether it says ``-ERR``."""
        return self.octets.startswith(b"-")


PLAIN = Reply(b"")[1:]
"""The rest of a reply with which nothing is to be done but to say it."""


def ok(text: bytes) -> Reply:
    """Say yes in one line; RFC 1939 section 3."""
    return Reply(b"+OK %b\r\n" % text)


def ok_lines(text: bytes, lines: Iterable[bytes]) -> Reply:
    """Say yes in some lines, each with its CRLF, that need no dot-stuffing."""
    return Reply(b"+OK %b\r\n%b.\r\n" % (text, b"".join(lines)))


def ok_content(text: bytes, content: bytes) -> Reply:
    """Say yes with content that is in memory."""
    return Reply(stuffed(content, b"+OK %b\r\n" % text))


def ok_message(octets: int, content: bytes) -> bytes:
    """Say yes with a whole message that has so many octets."""
    return stuffed(content, b"+OK %d octets\r\n" % octets)


def err(text: bytes, code: bytes = b"") -> Reply:
    """Say no in one line, with a response code of RFC 2449 section 8."""
    return Reply(b"-ERR [%b] %b\r\n" % (code, text) if code else b"-ERR %b\r\n" % text)


def ask(challenge: bytes) -> Reply:
    """Ask for a response in a login; RFC 5034 section 4."""
    return Reply(b"+ %b\r\n" % b64encode(challenge))


def refusal(error: MailError) -> Reply:
    """Say no as *error* does; RFC 2449 section 8.1.1, RFC 3206 sections 4 and 5."""
    return err(str(error).encode("ascii", "replace"), _code(error))


def finally_(reply: Reply) -> Reply:
    """Hang up behind *reply*."""
    return reply._replace(last=True)


# RFC 3206 section 6: AUTH is a wrong password, and an account that may not come in.
_CODES: tuple[tuple[type[MailError], bytes], ...] = (
    (MaildropInUse, b"IN-USE"),
    (LoginTooSoon, b"LOGIN-DELAY"),
    (LoginFailed, b"AUTH"),
    (LoginForbidden, b"AUTH"),
)


def _code(error: MailError) -> bytes:
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return b"SYS/PERM" if error.status.permanent else b"SYS/TEMP"


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
LOGIN_TOO_LONG = err(b"the response is too long")
CANCELLED = err(b"cancelled")
UNKNOWN_MECHANISM = err(b"no such way to log in here; AUTH alone lists them")
NO_SUCH_LANGUAGE = err(b"I do not speak that language; LANG alone lists them")
NEEDS_UTF8 = err(b"this message has a header in UTF-8; say UTF8 before the login", b"UTF8")
UTF8_ON = ok(b"UTF8 enabled")
# RFC 1939 section 6 has this text.
NOT_REMOVED = finally_(err(b"some deleted messages not removed", b"SYS/TEMP"))
TOO_MANY_ERRORS = finally_(err(b"too many errors"))
KEPT_OUT = finally_(err(b"you may not connect from your address", b"SYS/PERM"))
TOO_MANY_OF_CLIENT = finally_(
    err(b"too many connections from your address; please try again later", b"SYS/TEMP")
)
TOO_MANY_CONNECTIONS = finally_(err(b"too many connections; please try again later", b"SYS/TEMP"))
