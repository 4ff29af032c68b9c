"""HELO and EHLO; RFC 5321 section 4.1.1.1."""

from mailsvc.smtp.grammar import parse_helo
from mailsvc.smtp.replies import BAD_HELO, Reply
from mailsvc.smtp.session import Session


async def helo(session: Session, argument: bytes) -> Reply:
    """Start a session without extensions."""
    name = parse_helo(argument)
    if name is None:
        return BAD_HELO
    _begin(session, name, "SMTP")
    return Reply(250, None, (session.house.hostname,))


async def ehlo(session: Session, argument: bytes) -> Reply:
    """Start a session and tell the extensions that hold."""
    name = parse_helo(argument)
    if name is None:
        return BAD_HELO
    _begin(session, name, "ESMTP")
    return Reply(250, None, (session.house.hostname, *_extensions(session)))


def _begin(session: Session, name: str, protocol: str) -> None:
    session.forget_envelope()
    session.helo = name
    session.protocol = protocol


def _extensions(session: Session) -> list[str]:
    found = [
        "PIPELINING",  # RFC 2920
        f"SIZE {session.house.settings.largest_message}",  # RFC 1870
        "8BITMIME",  # RFC 6152
        "ENHANCEDSTATUSCODES",  # RFC 2034
        "HELP",
    ]
    if session.may_log_in:
        found.append("AUTH PLAIN LOGIN")  # RFC 4954
    return found
