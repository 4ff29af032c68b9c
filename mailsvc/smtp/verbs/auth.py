"""AUTH with PLAIN (RFC 4616) and LOGIN; RFC 4954."""

import base64
import binascii
from typing import cast

from twisted.cred.credentials import UsernamePassword
from twisted.logger import Logger
from twisted.mail.smtp import IMessageDelivery

from mailsvc.errors import LoginFailed, LoginForbidden, MailError
from mailsvc.smtp.avatar import Submission
from mailsvc.smtp.replies import (
    ALREADY_LOGGED_IN,
    BAD_ARGUMENT,
    BAD_BASE64,
    CANCELLED,
    LOGGED_IN,
    NO_PLAIN_LOGIN,
    TOO_MANY_LOGINS,
    UNKNOWN_MECHANISM,
    Reply,
    from_error,
    reply,
)
from mailsvc.smtp.session import Session

_log = Logger()
_PLAIN_PARTS = 3
_GO_AHEAD = reply(334, None, "")
_USERNAME = reply(334, None, "VXNlcm5hbWU6")  # "Username:"
_PASSWORD = reply(334, None, "UGFzc3dvcmQ6")  # "Password:"


async def auth(session: Session, argument: bytes) -> Reply:
    """Log in; the client may send its first response with the command."""
    if session.login is not None:
        return ALREADY_LOGGED_IN
    if not session.may_log_in:
        return NO_PLAIN_LOGIN
    mechanism, _, initial = argument.partition(b" ")
    if b" " in initial:
        return BAD_ARGUMENT
    match mechanism.upper():
        case b"PLAIN":
            step, challenge = _plain, _GO_AHEAD
        case b"LOGIN":
            step, challenge = _login_name, _USERNAME
        case _:
            return UNKNOWN_MECHANISM
    if not initial:
        session.awaiting = step
        return challenge
    # "=" is the response of no octets; RFC 4954 section 4.
    return await step(session, b"" if initial == b"=" else initial)


def _decode(line: bytes) -> bytes | None:
    """Read base64, strictly; None: it is none."""
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error:
        return None


async def _plain(session: Session, line: bytes) -> Reply:
    """Take ``authzid NUL authcid NUL password``."""
    if line == b"*":
        return CANCELLED
    message = _decode(line)
    if message is None:
        return BAD_BASE64
    parts = message.split(b"\0")
    if len(parts) != _PLAIN_PARTS:
        return BAD_BASE64
    authzid, authcid, password = parts
    # Nobody may act for somebody else.
    if authzid not in {b"", authcid}:
        return await _refuse(session, authcid, LoginFailed())
    return await _log_in(session, authcid, password)


async def _login_name(session: Session, line: bytes) -> Reply:
    """Take the user name of LOGIN."""
    if line == b"*":
        return CANCELLED
    name = _decode(line)
    if name is None:
        return BAD_BASE64

    async def password(session: Session, line: bytes) -> Reply:
        if line == b"*":
            return CANCELLED
        secret = _decode(line)
        if secret is None:
            return BAD_BASE64
        return await _log_in(session, name, secret)

    session.awaiting = password
    return _PASSWORD


async def _log_in(session: Session, username: bytes, password: bytes) -> Reply:
    try:
        _, avatar, logout = await session.house.portal.login(
            UsernamePassword(username, password), session.client, IMessageDelivery
        )
    except (LoginFailed, LoginForbidden) as error:
        return await _refuse(session, username, error)
    submission = cast("Submission", avatar)
    session.login = submission.account
    session.logout = logout
    _log.info(
        "{account} logged in from {client}",
        account=str(submission.account.address),
        client=session.client.ip,
    )
    return LOGGED_IN


async def _refuse(session: Session, username: bytes, error: MailError) -> Reply:
    """Count a failed login, and send a client away that has too many."""
    _log.info(
        "login as {username!r} from {client} failed",
        username=username[:255],
        client=session.client.ip,
    )
    session.failed_logins += 1
    if session.failed_logins >= session.house.login.most_failures:
        return TOO_MANY_LOGINS
    return from_error(error)
