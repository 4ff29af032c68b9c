"""STARTTLS; RFC 3207."""

from mailsvc.smtp.replies import BEGIN_TLS, EHLO_FIRST, HAS_TLS, NOT_IMPLEMENTED, Reply
from mailsvc.smtp.session import Session


async def starttls(session: Session, argument: bytes) -> Reply:
    """Agree to TLS; the protocol object sees to it that nothing stands behind the command."""
    del argument
    if session.secure:
        return HAS_TLS
    if not session.starttls:
        return NOT_IMPLEMENTED
    # It is an extension: a client of HELO cannot know of it.
    return EHLO_FIRST if session.protocol == "SMTP" else BEGIN_TLS
