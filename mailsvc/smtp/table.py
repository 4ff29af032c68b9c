"""The verb table: what each verb needs before its function is asked."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import Enum, IntEnum

from twisted.internet.defer import CancelledError

from mailsvc.config.settings import Kind
from mailsvc.model.legible import legible
from mailsvc.smtp import replies
from mailsvc.smtp.grammar import split_command
from mailsvc.smtp.replies import Chunk, Reply
from mailsvc.smtp.session import Session
from mailsvc.smtp.verbs import courtesy
from mailsvc.smtp.verbs.auth import auth
from mailsvc.smtp.verbs.bdat import bdat
from mailsvc.smtp.verbs.data import data
from mailsvc.smtp.verbs.hello import ehlo, helo
from mailsvc.smtp.verbs.mail import mail
from mailsvc.smtp.verbs.rcpt import rcpt
from mailsvc.smtp.verbs.starttls import starttls
from mailsvc.wire.interruptions import BadLine, LineTooLong


class Stage(IntEnum):
    """How far the session must be; RFC 5321 section 4.1.4."""

    ANY = 0
    GREETED = 1
    NO_TRANSACTION = 2
    SENDER = 3
    RECIPIENT = 4


class Argument(Enum):
    """Whether a verb has an argument."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Verb:
    """
    One row.

    Args:
        answer: The function.
        stage: How far the session must be.
        argument: Whether it has one.
        kinds: The listeners that offer it.
        octets_follow: Octets of a message stand behind it, also when it is refused.
    """

    answer: Callable[[Session, bytes], Awaitable[Reply | Chunk]]
    stage: Stage
    argument: Argument
    kinds: frozenset[Kind] = frozenset({Kind.SMTP, Kind.SUBMISSION, Kind.LMTP})
    octets_follow: bool = False


_SMTP = frozenset({Kind.SMTP, Kind.SUBMISSION})

VERBS = {
    b"EHLO": Verb(ehlo, Stage.ANY, Argument.REQUIRED, _SMTP),
    b"HELO": Verb(helo, Stage.ANY, Argument.REQUIRED, _SMTP),
    b"LHLO": Verb(ehlo, Stage.ANY, Argument.REQUIRED, frozenset({Kind.LMTP})),
    b"STARTTLS": Verb(starttls, Stage.GREETED, Argument.NONE),
    b"AUTH": Verb(auth, Stage.NO_TRANSACTION, Argument.REQUIRED, frozenset({Kind.SUBMISSION})),
    b"MAIL": Verb(mail, Stage.NO_TRANSACTION, Argument.REQUIRED),
    b"RCPT": Verb(rcpt, Stage.SENDER, Argument.REQUIRED),
    b"DATA": Verb(data, Stage.RECIPIENT, Argument.NONE),
    b"BDAT": Verb(bdat, Stage.RECIPIENT, Argument.REQUIRED, octets_follow=True),
    b"RSET": Verb(courtesy.rset, Stage.ANY, Argument.NONE),
    b"NOOP": Verb(courtesy.noop, Stage.ANY, Argument.OPTIONAL),
    b"VRFY": Verb(courtesy.vrfy, Stage.ANY, Argument.REQUIRED),
    b"EXPN": Verb(courtesy.expn, Stage.ANY, Argument.REQUIRED),
    b"HELP": Verb(courtesy.help_, Stage.ANY, Argument.OPTIONAL),
    b"QUIT": Verb(courtesy.quit_, Stage.ANY, Argument.NONE),
}


_NAMING = frozenset({b"MAIL", b"RCPT"})
"""Commands that name somebody."""
_MOST_SHOWN = 320
"""Octets of a command in the log: the longest path; RFC 5321 section 4.5.3.1.3."""


async def answer(session: Session, line: bytes) -> Reply | Chunk:
    """Answer one line, whatever is in it; never raises."""
    awaiting, session.awaiting = session.awaiting, None
    verb, argument = split_command(line) if awaiting is None else (b"", b"")
    try:
        if awaiting is not None:
            return session.judge(await awaiting(session, line))
        row = VERBS.get(verb)
        if row is None:
            return session.judge(replies.UNKNOWN)
        refusal = _refusal(session, row, argument, verb)
        if refusal is not None and not row.octets_follow:
            return session.judge(refusal)
        said = await row.answer(session, argument)
        if isinstance(said, Chunk):
            return said if refusal is None else replace(said, refusal=refusal)
        return session.judge(said)
    except CancelledError:
        raise
    except Exception as error:  # noqa: BLE001 - told to the client and logged by explain
        return session.judge(session.explain(error, _shown(verb, argument)))


def _shown(verb: bytes, argument: bytes) -> str:
    """Write a command for the log: whom it names, and never what may be a password."""
    if not verb:
        return "a login"
    said = b"%b %b" % (verb, argument) if verb in _NAMING else verb
    return legible(said[:_MOST_SHOWN])


def answer_bad(session: Session, bad: BadLine) -> Reply:
    """Answer what cannot be a command; a login that waited for its next line is over."""
    awaiting, session.awaiting = session.awaiting, None
    if bad.start.upper().startswith(b"BDAT"):
        # Octets of a message follow, nobody knows how many: none of them may become a command.
        return session.judge(replies.BAD_CHUNK)
    if not isinstance(bad, LineTooLong):
        return session.judge(replies.BARE_LINE_FEED)
    too_long = replies.LINE_TOO_LONG if awaiting is None else replies.AUTH_LINE_TOO_LONG
    return session.judge(too_long)


def _refusal(session: Session, row: Verb, argument: bytes, verb: bytes) -> Reply | None:
    """Compare the session with the columns of the row."""
    if session.house.kind not in row.kinds:
        return replies.NOT_IMPLEMENTED
    if argument and row.argument is Argument.NONE:
        return replies.NO_ARGUMENT
    if not argument and row.argument is Argument.REQUIRED:
        return replies.BAD_HELO if verb in {b"EHLO", b"HELO", b"LHLO"} else replies.BAD_ARGUMENT
    if row.stage is Stage.ANY:
        return None
    return _out_of_order(session, row, verb)


def _out_of_order(session: Session, row: Verb, verb: bytes) -> Reply | None:
    if not session.helo:
        return replies.HELO_FIRST
    if row.stage is Stage.NO_TRANSACTION and session.has_sender:
        return replies.ONE_AT_A_TIME if verb == b"MAIL" else replies.NOT_NOW
    if row.stage >= Stage.SENDER and not session.has_sender:
        return replies.MAIL_FIRST
    if row.stage is Stage.RECIPIENT and not session.recipients:
        return replies.RECIPIENT_FIRST
    if session.arrival is not None and not row.octets_follow:
        return replies.DATA_OR_BDAT
    return None
