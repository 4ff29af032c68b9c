"""The verbs that move no mail: RSET, NOOP, VRFY, HELP, QUIT; RFC 5321 section 4.1.1."""

from mailsvc.model.status import Status
from mailsvc.smtp.replies import CANNOT_VERIFY, GOOD_BYE, NOT_IMPLEMENTED, OK, Reply
from mailsvc.smtp.session import Session

_HELP = Reply(
    214,
    Status(2, 0, 0),
    (
        "Commands: EHLO HELO LHLO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT",
        "See RFC 5321; ask postmaster about this server",
    ),
)


async def rset(session: Session, argument: bytes) -> Reply:
    """Forget the envelope; RFC 5321 section 4.1.1.5."""
    del argument
    session.forget_envelope()
    return OK


async def noop(session: Session, argument: bytes) -> Reply:
    """Do nothing; RFC 5321 section 4.1.1.9 allows any argument."""
    del session, argument
    return OK


async def vrfy(session: Session, argument: bytes) -> Reply:
    """Tell nobody who has an account; RFC 5321 section 7.3."""
    del session, argument
    return CANNOT_VERIFY


async def expn(session: Session, argument: bytes) -> Reply:
    """Tell nobody who is in a group; RFC 5321 section 7.3."""
    del session, argument
    return NOT_IMPLEMENTED


async def help_(session: Session, argument: bytes) -> Reply:
    """List the commands; RFC 5321 section 4.1.1.8."""
    del session, argument
    return _HELP


async def quit_(session: Session, argument: bytes) -> Reply:
    """End the session; RFC 5321 section 4.1.1.10."""
    del session, argument
    return GOOD_BYE
