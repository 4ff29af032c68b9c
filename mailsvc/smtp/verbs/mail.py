"""MAIL; RFC 5321 section 4.1.1.2."""

from collections.abc import Mapping

from mailsvc.config.settings import Kind
from mailsvc.model.envelope import Body
from mailsvc.policy.relay import check_sender
from mailsvc.smtp.grammar import BadSyntax, parse_path_argument, parse_reverse_path
from mailsvc.smtp.replies import (
    BAD_ARGUMENT,
    BAD_PARAMETER,
    LOGIN_FIRST,
    SENDER_OK,
    STORAGE_FULL,
    TOO_BIG,
    UNKNOWN_PARAMETER,
    UTF8_ADDRESS,
    Reply,
)
from mailsvc.smtp.session import Session

_MOST_SIZE_DIGITS = 20
_KNOWN = {"SIZE", "BODY"}


async def mail(session: Session, argument: bytes) -> Reply:
    """Begin a transaction with its sender."""
    if session.house.kind is Kind.SUBMISSION and session.login is None:
        return LOGIN_FIRST
    try:
        parsed = parse_path_argument(argument, "FROM:")
    except BadSyntax:
        return BAD_ARGUMENT
    if not parsed.path.isascii():
        return UTF8_ADDRESS
    sender = parse_reverse_path(parsed.path)
    refusal = _look_at_parameters(session, parsed.parameters)
    if refusal is not None:
        return refusal
    check_sender(session.login, sender)
    if not session.house.has_room(int(parsed.parameters.get("SIZE") or 0)):
        return STORAGE_FULL
    session.sender = sender
    session.has_sender = True
    session.body = Body((parsed.parameters.get("BODY") or Body.SEVENBIT).upper())
    return SENDER_OK


def _look_at_parameters(session: Session, parameters: Mapping[str, str | None]) -> Reply | None:
    """Check SIZE (RFC 1870), BODY (RFC 6152) and AUTH (RFC 4954 section 5)."""
    known = _KNOWN | {"AUTH"} if session.login is not None else _KNOWN
    if session.protocol == "SMTP" or not known.issuperset(parameters):
        return UNKNOWN_PARAMETER if parameters else None
    if "BODY" in parameters and (parameters["BODY"] or "").upper() not in set(Body):
        return BAD_PARAMETER
    if "SIZE" in parameters:
        size = parameters["SIZE"] or ""
        if not (size.isascii() and size.isdigit() and len(size) <= _MOST_SIZE_DIGITS):
            return BAD_PARAMETER
        if int(size) > session.house.settings.largest_message:
            return TOO_BIG
    return None
