"""DATA; RFC 5321 section 4.1.1.4."""

from mailsvc.model.envelope import Body
from mailsvc.smtp.replies import BDAT_ONLY, SEND_CONTENT, Reply
from mailsvc.smtp.session import Session


async def data(session: Session, argument: bytes) -> Reply:
    """Ask for the content; ``smtp/content.py`` takes it."""
    del argument
    # RFC 3030 section 3.
    return BDAT_ONLY if session.parameters.body is Body.BINARY else SEND_CONTENT
