"""The table of commands, and the way from a line to its reply."""

import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailsvc.errors import MailError
from mailsvc.model.legible import legible
from mailsvc.pop3 import authorization, logins, transaction
from mailsvc.pop3.bodies import MessageGone
from mailsvc.pop3.either_state import capa, lang
from mailsvc.pop3.languages import ENGLISH, spoken
from mailsvc.pop3.replies import (
    BAD_ARGUMENT,
    BARE_LF,
    FAULT,
    LOGIN_TOO_LONG,
    NEED_TLS,
    NO_SUCH_MESSAGE,
    TOO_LONG,
    TOO_MANY_ERRORS,
    UNKNOWN,
    WRONG_STATE_AFTER_LOGIN,
    WRONG_STATE_BEFORE_LOGIN,
    Reply,
    refusal,
)
from mailsvc.pop3.session import Session
from mailsvc.wire.interruptions import BadLine, LineTooLong

Answer = Callable[[Session, bytes], Reply | Awaitable[Reply]]
"""Answers a command: at once, where nothing must be waited for."""


class Command(NamedTuple):
    """
    One row.

    Args:
        authorization: What it does in the AUTHORIZATION state; None: not there.
        transaction: What it does in the TRANSACTION state; None: not there.
        least: Arguments it needs.
        most: Arguments it takes.
        raw: Whether its one argument is the rest of the line as it is.
        password: Whether it leads to a password: only where nobody can listen.
    """

    authorization: Answer | None
    transaction: Answer | None
    least: int = 0
    most: int = 0
    raw: bool = False
    password: bool = False


_FIRST, _THEN = authorization, transaction

COMMANDS = {
    b"CAPA": Command(capa, capa),
    b"LANG": Command(lang, lang, 0, 1),
    b"UTF8": Command(_FIRST.utf8, None),
    b"STLS": Command(_FIRST.stls, None),
    b"USER": Command(logins.user, None, 1, 1, password=True),
    b"PASS": Command(logins.pass_, None, 1, 1, raw=True, password=True),
    b"AUTH": Command(logins.auth, None, 0, 2, password=True),
    b"STAT": Command(None, _THEN.stat),
    b"LIST": Command(None, _THEN.list_, 0, 1),
    b"UIDL": Command(None, _THEN.uidl, 0, 1),
    b"RETR": Command(None, _THEN.retr, 1, 1),
    b"TOP": Command(None, _THEN.top, 2, 2),
    b"DELE": Command(None, _THEN.dele, 1, 1),
    b"RSET": Command(None, _THEN.rset),
    b"NOOP": Command(None, _THEN.noop),
    b"QUIT": Command(_FIRST.quit_, _THEN.quit_),
}

_NO_COMMAND = Command(None, None)
GROUP = re.compile(rb"(?:RETR [0-9]{1,10}\r\n){1,32}")
"""Commands that clients mostly send together; RFC 2449 section 6.6."""
_AROUND = len(b"RETR \r\n")
_log = Logger()


def answer(session: Session, line: bytes) -> Reply | Awaitable[Reply]:
    """
    Answer one line: at once, where nothing must be waited for.

    Args:
        session: Whose.
        line: Without its CRLF.
    """
    awaiting = session.awaiting
    if awaiting is not None:
        session.awaiting = None
        return _later(session, b"AUTH", awaiting(session, line))
    word, _, rest = line.partition(b" ")
    verb = word.upper()
    first, then, least, most, raw, password = COMMANDS.get(verb, _NO_COMMAND)
    argument = rest if raw else rest.rstrip(b" ")
    perform = first if session.open_maildrop is None else then
    found: Reply | Awaitable[Reply]
    # RFC 1939 section 3: one space between two arguments.
    count = 0 if not argument else 1 if raw else argument.count(b" ") + 1
    if perform is None or not least <= count <= most:
        found = _refuse(session, verb)
    elif password and not session.may_log_in:
        found = NEED_TLS
    else:
        try:
            found = perform(session, argument)
        except Exception as error:  # noqa: BLE001 - logged and answered
            found = _failed(session, verb, error)
    return (
        _ended(session, verb, found) if isinstance(found, Reply) else _later(session, verb, found)
    )


def may_answer_group(session: Session) -> bool:
    """Whether ``answer_group`` can be used now."""
    return session.open_maildrop is not None and session.understands_all


def answer_group(session: Session, lines: bytes, most: int) -> tuple[list[bytes], int]:
    """
    Answer commands that came together as ``answer`` does, in a third of its time.

    Args:
        session: Whose.
        lines: Of the shape ``GROUP``, with their CRLF.
        most: Octets of all replies together; only the last one may go beyond.

    Returns:
        The replies to the first of them, up to one that ``answer`` must be asked for, and the
        octets of the lines that are answered.
    """
    numbers = lines.split()[1::2]
    replies: list[bytes] = []
    try:
        transaction.retr_group(session, numbers, most, replies)
    except Exception:  # noqa: BLE001 - logged; the command is answered by itself
        _log.failure("RETR in a group failed")
    if replies:
        session.errors = 0
    if len(replies) == len(numbers):
        return replies, len(lines)
    return replies, sum(map(len, numbers[: len(replies)])) + len(replies) * _AROUND


def answer_bad(session: Session, bad: BadLine) -> Reply:
    """Answer what cannot be a command, nor a response: a login is over then."""
    session.waiting_user = None
    awaiting, session.awaiting = session.awaiting, None
    too_long = TOO_LONG if awaiting is None else LOGIN_TOO_LONG
    return _count(session, too_long if isinstance(bad, LineTooLong) else BARE_LF)


def _refuse(session: Session, verb: bytes) -> Reply:
    """Tell why a command cannot be said now, or not so."""
    command = COMMANDS.get(verb)
    if command is None:
        return UNKNOWN
    logged_in = session.open_maildrop is not None
    if (command.transaction if logged_in else command.authorization) is None:
        return WRONG_STATE_AFTER_LOGIN if logged_in else WRONG_STATE_BEFORE_LOGIN
    return NEED_TLS if command.password and not session.may_log_in else BAD_ARGUMENT


async def _later(session: Session, verb: bytes, work: Awaitable[Reply]) -> Reply:
    """Wait for an answer."""
    try:
        reply = await work
    except CancelledError:
        raise  # the service ends: what became of the command nobody knows
    except Exception as error:  # noqa: BLE001 - logged and answered
        reply = _failed(session, verb, error)
    return _ended(session, verb, reply)


def _failed(session: Session, verb: bytes, error: Exception) -> Reply:
    """Answer, whatever has happened; a command that fails has changed nothing."""
    if isinstance(error, MessageGone):
        return NO_SUCH_MESSAGE
    if isinstance(error, MailError):
        _log.info(
            "{verb} of {user!r} from {client} failed: {error}",
            verb=verb.decode("ascii"),
            user=session.user or legible(session.waiting_user or b""),
            client=session.client.ip,
            error=error,
        )
        return refusal(error)
    _log.failure("{verb} failed", Failure(error), verb=verb.decode("ascii"))
    return FAULT


def _ended(session: Session, verb: bytes, reply: Reply) -> Reply:
    """Do what follows each command."""
    if verb != b"USER":
        # PASS comes "immediately after a successful USER"; RFC 1939 section 7.
        session.waiting_user = None
    if reply.octets.startswith(b"-"):
        return _count(session, reply)
    session.errors = 0
    return reply if session.language is ENGLISH else spoken(session.language, reply)


def _count(session: Session, reply: Reply) -> Reply:
    """Send a client away that says nothing right, and let one wait that says much wrong."""
    session.errors += 1
    if session.errors >= session.settings.pop3.most_errors and not reply.last:
        _log.info("refused {client}: too many errors", client=session.client.ip)
        reply = TOO_MANY_ERRORS
    return spoken(session.language, reply)._replace(late=session.tries_patience)
