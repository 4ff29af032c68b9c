"""The commands of the AUTHORIZATION state that are no login; RFC 1939 section 4."""

from mailsvc.pop3.replies import BEGIN_TLS, BYE, HAS_TLS, NO_TLS, UTF8_ON, Reply
from mailsvc.pop3.session import Session


def stls(session: Session, argument: bytes) -> Reply:
    """Agree to TLS; RFC 2595 section 4. The protocol object sees that nothing stands behind."""
    del argument
    if session.secure:
        return HAS_TLS
    return BEGIN_TLS if session.stls else NO_TLS


def utf8(session: Session, argument: bytes) -> Reply:
    """Note that the client understands UTF-8 in headers; RFC 6856 section 2."""
    del argument
    session.utf8 = True
    return UTF8_ON


def quit_(session: Session, argument: bytes) -> Reply:
    """Say good-bye: nobody has logged in; RFC 1939 section 4."""
    del session, argument
    return BYE
