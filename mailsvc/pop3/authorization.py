"""The commands of the AUTHORIZATION state, and CAPA; RFC 1939 section 4, RFC 2449 section 5."""

from twisted.cred.error import Unauthorized
from twisted.logger import Logger

from mailsvc.errors import MailError, TooManyFailures
from mailsvc.pop3.replies import (
    BAD_LOGIN,
    BEGIN_TLS,
    BYE,
    HAS_TLS,
    NEED_USER,
    NO_TLS,
    USER_TAKEN,
    WELCOME,
    Reply,
    finally_,
    ok_lines,
    refusal,
)
from mailsvc.pop3.session import Session, shown

_CAPABILITIES = (
    b"TOP\r\n",
    b"UIDL\r\n",
    b"RESP-CODES\r\n",  # RFC 2449 section 6.4
    b"AUTH-RESP-CODE\r\n",  # RFC 3206 section 6
    b"PIPELINING\r\n",  # RFC 2449 section 6.6
    b"EXPIRE NEVER\r\n",  # RFC 2449 section 6.7
    b"IMPLEMENTATION mailsvc\r\n",
)
_log = Logger()


async def capa(session: Session, argument: bytes) -> Reply:
    """Tell what this connection can do now; RFC 2449 section 5."""
    del argument
    user = (b"USER\r\n",) if session.may_log_in else ()
    tls = (b"STLS\r\n",) if _offers_stls(session) else ()
    return ok_lines(b"this is what I can do", user + tls + _CAPABILITIES)


async def stls(session: Session, argument: bytes) -> Reply:
    """Agree to TLS; RFC 2595 section 4. The protocol object sees that nothing stands behind."""
    del argument
    if session.secure:
        return HAS_TLS
    return BEGIN_TLS if session.stls else NO_TLS


def _offers_stls(session: Session) -> bool:
    """Whether STLS would be agreed to now."""
    return session.stls and not session.secure and session.open_maildrop is None


async def user(session: Session, argument: bytes) -> Reply:
    """Note who wants to log in; whether there is such a user stays a secret."""
    session.waiting_user = argument
    return USER_TAKEN


async def pass_(session: Session, argument: bytes) -> Reply:
    """Log in; the password is the rest of the line, spaces included; RFC 1939 section 7."""
    name = session.waiting_user
    if name is None:
        return NEED_USER
    try:
        await session.log_in(name, argument)
    except (Unauthorized, TooManyFailures) as error:
        return _refuse(session, name, error)
    return WELCOME


async def quit_(session: Session, argument: bytes) -> Reply:
    """Say good-bye: nobody has logged in; RFC 1939 section 4."""
    del session, argument
    return BYE


def _refuse(session: Session, name: bytes, error: Exception) -> Reply:
    _log.info(
        "refused login of {user!r} from {client}: {error}",
        user=shown(name),
        client=session.client.ip,
        error=str(error) or type(error).__name__,
    )
    session.failures += 1
    reply = refusal(error) if isinstance(error, MailError) else BAD_LOGIN
    enough = session.failures >= session.settings.login.most_failures
    return finally_(reply) if enough else reply
