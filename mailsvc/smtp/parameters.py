"""The values of the parameters of MAIL and RCPT: read, checked, decoded."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from mailsvc.errors import MailError
from mailsvc.model.envelope import Body, DeliverBy, Notify, Return
from mailsvc.model.status import Status

Parameters = Mapping[str, str | None]
"""By upper-case keyword; None: the keyword has no value."""

LONGEST_ENVID = 100
"""Characters before decoding; RFC 3461 section 4.4."""
LONGEST_ORCPT = 500
"""Characters before decoding; RFC 3461 section 4.2."""

_SIZE = re.compile(r"\d{1,20}")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_XTEXT_UTF8 = re.compile(r"(?:[!-*,-<>-~\x80-\U0010ffff]|\+[0-9A-F]{2})*")
_XCHAR = re.compile(r"\+([0-9A-F]{2})")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,64}")
_BY = re.compile(r"([+-]?)(\d{1,9});([NR])(T?)", re.IGNORECASE)


class BadParameter(MailError):
    """A value is not written as its RFC says; RFC 3463 section 3.6."""

    status = Status(5, 5, 4)
    text = "A parameter is not how it is written"


class UnknownParameter(MailError):
    """A parameter that was not announced; RFC 5321 section 4.1.1.11."""

    status = Status(5, 5, 4)
    text = "There is no such parameter here"


class MailParameters(NamedTuple):
    """
    All parameters of MAIL.

    Args:
        size: SIZE in octets, RFC 1870; 0: the client has not said.
        body: BODY; RFC 6152, RFC 3030.
        utf8: SMTPUTF8; RFC 6531.
        returns: RET; RFC 3461.
        identifier: ENVID, decoded; RFC 3461.
        require_tls: REQUIRETLS; RFC 8689.
        deliver_by: BY; RFC 2852.
    """

    size: int = 0
    body: Body = Body.SEVENBIT
    utf8: bool = False
    returns: Return | None = None
    identifier: str = ""
    require_tls: bool = False
    deliver_by: DeliverBy | None = None


class RcptParameters(NamedTuple):
    """
    All parameters of RCPT; RFC 3461 sections 4.1 and 4.2.

    Args:
        notify: NOTIFY; empty: the client has not said.
        original: ORCPT, decoded; empty: none.
    """

    notify: frozenset[Notify] = frozenset()
    original: str = ""


NO_MAIL_PARAMETERS = MailParameters()
NO_RCPT_PARAMETERS = RcptParameters()


def read_mail_parameters(
    given: Parameters, announced: frozenset[str], now: datetime
) -> MailParameters:
    """
    Read the parameters of MAIL.

    Args:
        given: Those of the command.
        announced: Those that may be given.
        now: From when BY counts; aware UTC.

    Raises:
        UnknownParameter: One of them was not announced.
        BadParameter: One of them is not how it is written.
    """
    if not given:
        return NO_MAIL_PARAMETERS
    if not announced.issuperset(given):
        raise UnknownParameter
    if "AUTH" in given and not _XTEXT.fullmatch(given["AUTH"] or "\n"):
        raise BadParameter  # RFC 4954 section 5; we trust nobody's word, so it is not kept
    return MailParameters(
        size=_size(given),
        body=_body(given),
        utf8=_flag(given, "SMTPUTF8"),
        returns=_returns(given),
        identifier=_identifier(given),
        require_tls=_flag(given, "REQUIRETLS"),
        deliver_by=_deliver_by(given, now),
    )


def read_rcpt_parameters(given: Parameters, announced: frozenset[str]) -> RcptParameters:
    """Read the parameters of RCPT; as ``read_mail_parameters``."""
    if not given:
        return NO_RCPT_PARAMETERS
    if not announced.issuperset(given):
        raise UnknownParameter
    return RcptParameters(notify=_notify(given), original=_original(given))


def decode_xtext(text: str) -> str:
    """
    Decode ``xtext``; RFC 3461 section 4.

    Raises:
        BadParameter: It is none.
    """
    if not _XTEXT_UTF8.fullmatch(text):
        raise BadParameter
    return _XCHAR.sub(lambda found: chr(int(found.group(1), 16)), text)


def _flag(given: Parameters, keyword: str) -> bool:
    """Read a parameter without a value."""
    if given.get(keyword) is not None:
        raise BadParameter
    return keyword in given


def _size(given: Parameters) -> int:
    if "SIZE" not in given:
        return 0
    size = given["SIZE"] or ""
    if not (size.isascii() and _SIZE.fullmatch(size)):
        raise BadParameter
    return int(size)


def _body(given: Parameters) -> Body:
    if "BODY" not in given:
        return Body.SEVENBIT
    try:
        return Body((given["BODY"] or "").upper())
    except ValueError:
        raise BadParameter from None


def _returns(given: Parameters) -> Return | None:
    if "RET" not in given:
        return None
    try:
        return Return((given["RET"] or "").upper())
    except ValueError:
        raise BadParameter from None


def _identifier(given: Parameters) -> str:
    if "ENVID" not in given:
        return ""
    text = given["ENVID"] or ""
    decoded = decode_xtext(text)
    # It goes into a report: no control characters; RFC 3461 section 4.4.
    if not text or len(text) > LONGEST_ENVID or not _is_printable(decoded):
        raise BadParameter
    return decoded


def _deliver_by(given: Parameters, now: datetime) -> DeliverBy | None:
    """Read ``BY=120;R``; RFC 2852 section 4."""
    if "BY" not in given:
        return None
    found = _BY.fullmatch(given["BY"] or "")
    if found is None:
        raise BadParameter
    sign, digits, mode, trace = found.groups()
    seconds = int(digits) * (-1 if sign == "-" else 1)
    returns = mode.upper() == "R"
    if returns and seconds <= 0:
        raise BadParameter
    return DeliverBy(now + timedelta(seconds=seconds), returns=returns, trace=bool(trace))


def _notify(given: Parameters) -> frozenset[Notify]:
    if "NOTIFY" not in given:
        return frozenset()
    try:
        found = frozenset(Notify(word) for word in (given["NOTIFY"] or "").upper().split(","))
    except ValueError:
        raise BadParameter from None
    if Notify.NEVER in found and len(found) > 1:
        raise BadParameter
    return found


def _original(given: Parameters) -> str:
    """Read ``rfc822;bob+40example.com``."""
    if "ORCPT" not in given:
        return ""
    text = given["ORCPT"] or ""
    kind, semicolon, address = text.partition(";")
    if not (semicolon and address and len(text) <= LONGEST_ORCPT):
        raise BadParameter
    decoded = decode_xtext(address)
    if not _ADDRESS_TYPE.fullmatch(kind) or not _is_printable(decoded):
        raise BadParameter
    return f"{kind};{decoded}"


def _is_printable(text: str) -> bool:
    """Whether there is no control character in it, those beyond ASCII included."""
    return not any(character < " " or "\x7f" <= character <= "\x9f" for character in text)
