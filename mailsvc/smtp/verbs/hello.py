"""HELO, EHLO and LHLO; RFC 5321 section 4.1.1.1, RFC 2033 section 4.1."""

from mailsvc.config.settings import Kind
from mailsvc.smtp.extensions import Offer, offer_of
from mailsvc.smtp.grammar import parse_helo
from mailsvc.smtp.replies import BAD_HELO, Reply
from mailsvc.smtp.session import Session


async def helo(session: Session, argument: bytes) -> Reply:
    """Start a session without extensions."""
    return _begin(session, argument, "SMTP", Offer())


async def ehlo(session: Session, argument: bytes) -> Reply:
    """Start a session and tell the extensions that hold; LHLO is the same for LMTP."""
    protocol = "LMTP" if session.house.kind is Kind.LMTP else "ESMTP"
    return _begin(session, argument, protocol, offer_of(session))


def _begin(session: Session, argument: bytes, protocol: str, offer: Offer) -> Reply:
    name = parse_helo(argument)
    if name is None:
        return BAD_HELO
    session.forget_envelope()
    session.helo = name
    session.protocol = protocol
    session.mail_parameters = offer.mail
    session.rcpt_parameters = offer.rcpt
    return Reply(250, None, (session.house.hostname, *offer.lines))
