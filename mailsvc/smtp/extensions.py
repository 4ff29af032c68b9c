"""
Every extension of ESMTP: what EHLO says of it, when it holds, and which parameters it brings.

One table for both, so that what is announced and what is accepted are the same; RFC 5321
section 4.1.1.1.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mailsvc.config.settings import Kind
from mailsvc.smtp.session import Session


@dataclass(frozen=True, slots=True)
class Extension:
    """
    One extension.

    Args:
        announce: Gives its line of EHLO's answer; empty: it does not hold on this connection.
        mail: The parameters it brings to MAIL.
        rcpt: The parameters it brings to RCPT.
    """

    announce: Callable[[Session], str]
    mail: frozenset[str] = frozenset()
    rcpt: frozenset[str] = frozenset()


def _always(line: str) -> Callable[[Session], str]:
    return lambda _: line


def _size(session: Session) -> str:
    return f"SIZE {session.house.settings.largest_message}"


def _limits(session: Session) -> str:
    return f"LIMITS RCPTMAX={session.house.settings.most_recipients}"


def _dsn(session: Session) -> str:
    """
    Offer reports where they can be made: to our own users.

    A report to another server's user has to leave this one.
    """
    return "DSN" if session.house.kind is Kind.SUBMISSION else ""


def _require_tls(session: Session) -> str:
    """Offer it on encrypted connections only; RFC 8689 section 4.2."""
    return "REQUIRETLS" if session.secure else ""


def _starttls(session: Session) -> str:
    """Offer it where it is possible and not done yet; RFC 3207 section 4."""
    return "STARTTLS" if session.starttls and not session.secure else ""


def _auth(session: Session) -> str:
    if not session.may_log_in:
        return ""
    return " ".join(("AUTH", *session.house.authenticator.mechanisms(session.channel)))


EXTENSIONS = (
    Extension(_always("PIPELINING")),  # RFC 2920
    Extension(_size, frozenset({"SIZE"})),  # RFC 1870
    Extension(_always("8BITMIME"), frozenset({"BODY"})),  # RFC 6152
    Extension(_always("SMTPUTF8"), frozenset({"SMTPUTF8"})),  # RFC 6531
    Extension(_always("ENHANCEDSTATUSCODES")),  # RFC 2034
    Extension(_always("CHUNKING")),  # RFC 3030
    Extension(_always("BINARYMIME"), frozenset({"BODY"})),  # RFC 3030
    Extension(_dsn, frozenset({"RET", "ENVID"}), frozenset({"NOTIFY", "ORCPT"})),  # RFC 3461
    Extension(_require_tls, frozenset({"REQUIRETLS"})),  # RFC 8689
    Extension(_always("DELIVERBY"), frozenset({"BY"})),  # RFC 2852
    Extension(_limits),  # RFC 9422
    Extension(_starttls),  # RFC 3207
    Extension(_auth, frozenset({"AUTH"})),  # RFC 4954
    Extension(_always("HELP")),
)


@dataclass(frozen=True, slots=True)
class Offer:
    """
    What holds on one connection.

    Args:
        lines: For EHLO's answer.
        mail: The parameters that MAIL takes.
        rcpt: The parameters that RCPT takes.
    """

    lines: tuple[str, ...] = ()
    mail: frozenset[str] = frozenset()
    rcpt: frozenset[str] = frozenset()


def offer_of(session: Session) -> Offer:
    """Find what holds on a connection now."""
    found = [(one, line) for one in EXTENSIONS if (line := one.announce(session))]
    return Offer(
        lines=tuple(line for _, line in found),
        mail=frozenset[str]().union(*(one.mail for one, _ in found)),
        rcpt=frozenset[str]().union(*(one.rcpt for one, _ in found)),
    )
