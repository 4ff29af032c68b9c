"""AUTH; RFC 4954. What is said in a login is the mechanism's matter: ``auth/sasl.py``."""

from base64 import b64encode
from typing import cast

from twisted.logger import Logger
from twisted.mail.smtp import IMessageDelivery

from mailsvc.auth.sasl import LONGEST_NAME, read_response
from mailsvc.errors import BadResponse, LoginFailed, LoginForbidden, MailError, TooManyFailures
from mailsvc.interfaces import IExchange
from mailsvc.model.login import Challenge, LoggedIn
from mailsvc.smtp.avatar import Submission
from mailsvc.smtp.replies import (
    ALREADY_LOGGED_IN,
    BAD_ARGUMENT,
    CANCELLED,
    LOGGED_IN,
    NO_PLAIN_LOGIN,
    TOO_MANY_LOGINS,
    UNKNOWN_MECHANISM,
    Reply,
    from_error,
    login_put_off,
    reply,
)
from mailsvc.smtp.session import Session

_log = Logger()


async def auth(session: Session, argument: bytes) -> Reply:
    """Log in; the client may send its first response with the command."""
    if session.login is not None:
        return ALREADY_LOGGED_IN
    if not session.may_log_in:
        return NO_PLAIN_LOGIN
    mechanism, _, initial = argument.partition(b" ")
    if b" " in initial:
        return BAD_ARGUMENT
    exchange = session.house.authenticator.begin(
        mechanism.upper().decode("ascii", "replace"),
        session.client,
        session.channel,
        IMessageDelivery,
    )
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
    return reply(334, None, b64encode(challenge).decode())


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
    return _come_in(session, done)


def _come_in(session: Session, done: LoggedIn) -> Reply:
    submission = cast("Submission", done.avatar)
    session.login = submission.account
    session.logout = done.logout
    _log.info(
        "{account} logged in from {client}",
        account=str(submission.account.address),
        client=session.client.ip,
    )
    return LOGGED_IN


def _refuse(session: Session, exchange: IExchange, error: MailError) -> Reply:
    """Count a failed login, and send a client away that has too many."""
    if isinstance(error, BadResponse):
        return from_error(error)
    _log.info(
        "login as {username!r} from {client} failed: {error}",
        username=exchange.who[:LONGEST_NAME],
        client=session.client.ip,
        error=str(error),
    )
    if isinstance(error, LoginFailed | LoginForbidden | TooManyFailures):
        session.failed_logins += 1
        if session.failed_logins >= session.house.login.most_failures:
            return TOO_MANY_LOGINS
    return from_error(error) if error.status.permanent else login_put_off(error)
