"""Replies, and the only place of SMTP that knows wire codes; RFC 5321 section 4.2, RFC 3463."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from mailsvc.errors import (
    BadMailbox,
    BadResponse,
    LoginFailed,
    LoginForbidden,
    MailboxFull,
    MailError,
    StorageFull,
    TooBusy,
    TooManyFailures,
)
from mailsvc.model.session import Ending
from mailsvc.model.status import Status
from mailsvc.policy.allowance import TooManyRecipients
from mailsvc.smtp.grammar import BadSyntax
from mailsvc.smtp.parameters import BadParameter, UnknownParameter


class After(Enum):
    """What the connection does when the reply is written."""

    STAY = "stay"
    CONTENT = "content"
    TLS = "tls"
    CLOSE = "close"


@dataclass(frozen=True)
class Reply:
    """
    One reply.

    Args:
        code: RFC 5321 section 4.2.1.
        status: RFC 3463; None where it has no place (RFC 2034 section 4).
        lines: The text, ASCII.
        after: What follows.
    """

    code: int
    status: Status | None
    lines: tuple[str, ...]
    after: After = After.STAY
    before: "tuple[Reply, ...]" = ()
    """Replies in front of this one: LMTP answers for each recipient; RFC 2033 section 4.2."""

    wire: bytes = field(init=False, repr=False, compare=False)
    """The octets; made once, for most replies are constants."""

    def __post_init__(self) -> None:
        """Make the octets."""
        object.__setattr__(self, "wire", self._encode())

    def _encode(self) -> bytes:
        prefix = "" if self.status is None else f"{self.status} "
        if len(self.lines) == 1 and not self.before:
            return f"{self.code} {prefix}{self.lines[0]}\r\n".encode("ascii", "backslashreplace")
        last = len(self.lines) - 1
        own = "".join(
            f"{self.code}{' ' if number == last else '-'}{prefix}{line}\r\n"
            for number, line in enumerate(self.lines)
        ).encode("ascii", "backslashreplace")
        return b"".join((*(one.wire for one in self.before), own))

    @property
    def refuses(self) -> bool:
        """Whether it is a 4yz or 5yz."""
        return self.code >= 400  # noqa: PLR2004 - the first refusal


@dataclass(frozen=True, slots=True)
class Chunk:
    """
    In place of a reply: octets of a message follow and come first; RFC 3030 section 2.

    Args:
        octets: How many.
        last: Whether the message ends with them.
        refusal: What they get for an answer whatever they are; None: they are welcome.
    """

    octets: int
    last: bool
    refusal: Reply | None = None


def for_each(answers: Sequence[Reply]) -> Reply:
    """Put the replies for all recipients of a message into one; RFC 2033 section 4.2."""
    last = answers[-1]
    return Reply(last.code, last.status, last.lines, last.after, before=tuple(answers[:-1]))


def reply(code: int, status: str | None, text: str, after: After = After.STAY) -> Reply:
    """Make a reply of one line; *status* as RFC 3463 writes it."""
    parsed = None if status is None else Status(*(int(part) for part in status.split(".")))
    return Reply(code, parsed, (text,), after)


OK = reply(250, "2.0.0", "OK")
SENDER_OK = reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = reply(250, "2.1.5", "Recipient OK")
SEND_CONTENT = reply(354, None, "Go ahead, end with CRLF.CRLF", After.CONTENT)
GOOD_BYE = reply(221, "2.0.0", "Good-bye", After.CLOSE)
BEGIN_TLS = reply(220, "2.0.0", "Begin TLS now", After.TLS)
LOGGED_IN = reply(235, "2.7.0", "Logged in")

UNKNOWN = reply(500, "5.5.2", "There is no such command")
LINE_TOO_LONG = reply(500, "5.5.2", "This line is too long")
BARE_LINE_FEED = reply(500, "5.5.2", "Lines end in CR LF")
BAD_ARGUMENT = reply(501, "5.5.4", "That is not how this command is written")
NO_ARGUMENT = reply(501, "5.5.4", "This command takes no argument")
BAD_HELO = reply(501, "5.5.4", "Tell your host name or address literal")
NOT_IMPLEMENTED = reply(502, "5.5.1", "This command is not offered here")
HELO_FIRST = reply(503, "5.5.1", "Say EHLO or HELO first")
MAIL_FIRST = reply(503, "5.5.1", "Say MAIL first")
RECIPIENT_FIRST = reply(503, "5.5.1", "No recipient was accepted; say RCPT first")
ONE_AT_A_TIME = reply(503, "5.5.1", "There is a sender already; say RSET for a new one")
NOT_NOW = reply(503, "5.5.1", "Not in the middle of a message")
HAS_TLS = reply(503, "5.5.1", "The connection has TLS already")
NOTHING_BEHIND = reply(503, "5.5.1", "Nothing may follow STARTTLS before TLS", After.CLOSE)
EHLO_FIRST = reply(503, "5.5.1", "Say EHLO first")
LOGIN_FIRST = reply(530, "5.7.0", "Log in first")
ALREADY_LOGGED_IN = reply(503, "5.5.1", "You are logged in already")
NO_PLAIN_LOGIN = reply(538, "5.7.11", "Logging in needs an encrypted connection")
UNKNOWN_MECHANISM = reply(504, "5.5.4", "There is no such way to log in here")
AUTH_LINE_TOO_LONG = reply(500, "5.5.6", "This line of a login is too long")
CANCELLED = reply(501, "5.7.0", "Cancelled")
TOO_MANY_RECIPIENTS = reply(452, "4.5.3", "Too many recipients; send another message")
TOO_BIG = reply(552, "5.3.4", "The message is too big for us")
UTF8_SENDER = reply(550, "5.6.7", "An address in UTF-8 needs the parameter SMTPUTF8")
UTF8_RECIPIENT = reply(553, "5.6.7", "An address in UTF-8 needs SMTPUTF8 at MAIL")
BAD_CHUNK = reply(501, "5.5.4", "Say BDAT size, or BDAT size LAST", After.CLOSE)
DATA_OR_BDAT = reply(503, "5.5.1", "Not after BDAT: one message comes by DATA or by BDAT")
BDAT_ONLY = reply(503, "5.5.1", "A BINARYMIME message comes by BDAT")
TOO_LATE = reply(554, "5.4.7", "The time of DELIVERBY is over")
BAD_LINE_ENDS = reply(550, "5.6.11", "The message holds a bare CR, a bare LF or a NUL")
CANNOT_VERIFY = reply(252, "2.5.0", "Send a message and see")
OUR_FAULT = reply(451, "4.3.0", "Our fault; please try again later")
STORAGE_FULL = reply(452, "4.3.1", "Our storage is full; please try again later")

TOO_MANY_LOGINS = reply(421, "4.7.0", "Too many failed logins; good-bye", After.CLOSE)
TOO_MANY_CONNECTIONS = reply(421, "4.7.0", "Too many connections; try later", After.CLOSE)
TOO_MANY_OF_CLIENT = reply(
    421, "4.7.0", "Too many connections from your address; try again later", After.CLOSE
)
KEPT_OUT = reply(554, "5.7.1", "You may not connect from your address", After.CLOSE)
TALKED_TOO_EARLY = reply(
    554, "5.5.1", "You must wait for the greeting before you talk; good-bye", After.CLOSE
)
TRANSACTION_TOO_LONG = reply(421, "4.4.2", "This message took too long; good-bye", After.CLOSE)
TIMED_OUT = reply(421, "4.4.2", "You were silent for too long; good-bye", After.CLOSE)
STOPPING = reply(421, "4.3.2", "The service is stopping; try again soon", After.CLOSE)
ENDED = {
    Ending.STOPPING: STOPPING,
    Ending.KILLED: reply(421, "4.3.2", "The administrator ended this session", After.CLOSE),
    Ending.LOCKED_OUT: reply(421, "4.7.0", "Your login is no longer good", After.CLOSE),
}
"""What a session hears that its client would have gone on with."""

_LONGEST_TEXT = 400
"""Characters: a reply line has 512 octets with its codes; RFC 5321 section 4.5.3.1.5."""

_CODES: dict[type[MailError], tuple[int, int]] = {
    # The reply for a class 4 and for a class 5 status; RFC 3463 section 3.
    BadMailbox: (451, 501),
    BadResponse: (451, 501),
    LoginFailed: (454, 535),
    LoginForbidden: (454, 535),
    TooManyFailures: (454, 535),
    MailboxFull: (452, 552),
    StorageFull: (452, 552),
    TooBusy: (452, 552),
    BadSyntax: (451, 501),
    BadParameter: (451, 501),
    UnknownParameter: (451, 555),
    TooManyRecipients: (450, 550),
}


def too_many_errors(last: Reply) -> Reply:
    """Send a client away for its errors; one reply, for pipelined commands get one each."""
    if last.after is After.CLOSE:
        return last
    text = f"Too many errors; the last one: {last.lines[0]}"
    return Reply(421, Status(4, 7, 0), (text,), After.CLOSE, before=last.before)


def is_one_recipient_too_many(reply: Reply) -> bool:
    """Tell whether the recipients before this one are good; RFC 5321 section 4.5.3.1.10."""
    return reply is TOO_MANY_RECIPIENTS or reply.code == _CODES[TooManyRecipients][0]


def is_mailbox_full(reply: Reply) -> bool:
    """Tell whether a recipient's quota is the reason; RFC 3463 section 3.3."""
    return reply.status is not None and reply.status[1:] == MailboxFull.status[1:]


def from_error(error: MailError) -> Reply:
    """Tell a client what went wrong; the class of the status says whether to try again."""
    temporary, permanent = next(
        (codes for kind, codes in _CODES.items() if isinstance(error, kind)), (451, 550)
    )
    code = permanent if error.status.permanent else temporary
    # One line, whatever a filter of somebody else says: a CRLF would be a reply of its own.
    text = " ".join(str(error).split())[:_LONGEST_TEXT]
    return Reply(code, error.status, (text,))


def login_put_off(error: MailError) -> Reply:
    """Tell a client to log in later, whatever the reason; RFC 4954 section 6."""
    return Reply(454, Status(4, 7, 0), (str(error)[:_LONGEST_TEXT],))
