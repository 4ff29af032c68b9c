"""DATA; RFC 5321 section 4.1.1.4."""

from mailsvc.smtp.replies import SEND_CONTENT, Reply
from mailsvc.smtp.session import Session


async def data(session: Session, argument: bytes) -> Reply:
    """Ask for the content; ``smtp/content.py`` takes it."""
    del session, argument
    return SEND_CONTENT
