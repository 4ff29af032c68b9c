"""USER, PASS and AUTH; RFC 1939 section 7, RFC 5034."""

from typing import cast

from twisted.logger import Logger

from mailsvc.auth.sasl import LONGEST_NAME, read_response
from mailsvc.errors import BadResponse, LoginFailed, LoginForbidden, MailError, TooManyFailures
from mailsvc.interfaces import IExchange
from mailsvc.model.login import Challenge, LoggedIn
from mailsvc.pop3.maildrop import Maildrop
from mailsvc.pop3.replies import (
    CANCELLED,
    NEED_TLS,
    NEED_USER,
    UNKNOWN_MECHANISM,
    USER_TAKEN,
    WELCOME,
    Reply,
    ask,
    err,
    finally_,
    ok_lines,
    refusal,
)
from mailsvc.pop3.session import Session

_log = Logger()


def user(session: Session, argument: bytes) -> Reply:
    """Note who wants to log in; whether there is such a user stays a secret."""
    session.waiting_user = argument
    return USER_TAKEN


async def pass_(session: Session, argument: bytes) -> Reply:
    """Log in; the password is the rest of the line, spaces included; RFC 1939 section 7."""
    if session.waiting_user is None:
        return NEED_USER
    exchange = session.begin_login("LOGIN", called="USER")
    if exchange is None:
        return NEED_TLS
    try:
        await exchange.step(session.waiting_user)
        done = await exchange.step(argument)
    except MailError as error:
        return _refuse(session, exchange, error)
    return _come_in(session, exchange, cast("LoggedIn", done))


async def auth(session: Session, argument: bytes) -> Reply:
    """
    Log in by a mechanism; the client may send its first response with the command.

    Without an argument it lists the mechanisms: older mail programs ask so.
    """
    if not argument:
        names = session.mechanisms
        return ok_lines(b"these are the ways to log in", [b"%b\r\n" % name for name in names])
    mechanism, _, initial = argument.partition(b" ")
    exchange = session.begin_login(mechanism.upper().decode("ascii", "replace"))
    if exchange is None:
        return UNKNOWN_MECHANISM
    if not initial:
        return _ask(session, exchange, exchange.prompt)
    return await _take(session, exchange, initial, initial=True)


def _ask(session: Session, exchange: IExchange, challenge: bytes) -> Reply:
    """Send a challenge; the next line is the response."""

    async def respond(session: Session, line: bytes) -> Reply:
        return CANCELLED if line == b"*" else await _take(session, exchange, line)

    session.awaiting = respond
    return ask(challenge)


async def _take(
    session: Session, exchange: IExchange, line: bytes, *, initial: bool = False
) -> Reply:
    """Take a response, in base64."""
    try:
        done = await exchange.step(read_response(line, initial=initial))
    except MailError as error:
        return _refuse(session, exchange, error)
    if isinstance(done, Challenge):
        return _ask(session, exchange, done.octets)
    return _come_in(session, exchange, done)


def _come_in(session: Session, exchange: IExchange, done: LoggedIn) -> Reply:
    session.enter(exchange.who, cast("Maildrop", done.avatar), done.logout)
    _log.info("login of {user!r} from {client}", user=session.user, client=session.client.ip)
    return WELCOME


def _refuse(session: Session, exchange: IExchange, error: MailError) -> Reply:
    """Count a failed login, and send a client away that has too many."""
    if isinstance(error, BadResponse):
        return err(str(error).encode("ascii"))
    _log.info(
        "login as {username!r} from {client} failed: {error}",
        username=exchange.who[:LONGEST_NAME],
        client=session.client.ip,
        error=str(error),
    )
    if isinstance(error, LoginFailed | LoginForbidden | TooManyFailures):
        session.failures += 1
        if session.failures >= session.settings.login.most_failures:
            return finally_(refusal(error))
    return refusal(error)
