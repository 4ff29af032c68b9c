"""What an administrator may ask for; each rule gives its value back or refuses it in words."""

import re
from datetime import timedelta

from mailsvc.errors import CommandError
from mailsvc.model.address import Address, BadAddress, parse_address, parse_domain
from mailsvc.model.login import LONGEST_PASSWORD
from mailsvc.model.page import LARGEST_PAGE
from mailsvc.model.quota import NO_LIMIT

SHORTEST_PASSWORD = 8
"""Characters; NIST SP 800-63B section 5.1.1.2."""
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}")
LONGEST_NAME = 255
"""Characters of a display name."""
LARGEST_QUOTA = (1 << 63) - 1
"""What a column of the database holds."""
MOST_DAILY = 1_000_000
"""Messages, or new recipients, of one account in a day."""
LONGEST_KEEP = 36_500
"""Days; whoever wants more keeps mail for ever."""


def parsed_address(text: str) -> Address:
    """
    Read an address.

    Raises:
        CommandError: It is none; the text says why.
    """
    try:
        return parse_address(text, utf8=True)
    except BadAddress as error:
        raise CommandError(f"{text!r} is not a mail address: {error}") from None


def parsed_domain(text: str) -> str:
    """
    Read the name of a domain.

    Raises:
        CommandError: It is none; the text says why.
    """
    try:
        name = parse_domain(text, utf8=True)
    except BadAddress as error:
        raise CommandError(f"{text!r} is not a domain: {error}") from None
    if name.startswith("["):
        raise CommandError(f"{text!r} is an address literal; a domain has a name")
    return name


def checked_password(password: bytes, shortest: int = SHORTEST_PASSWORD) -> bytes:
    """Refuse a password that no client could send, or that anyone could guess."""
    if any(octet in password for octet in b"\r\n\0"):
        raise CommandError("a password is one line without NUL")
    if len(password) > LONGEST_PASSWORD:
        raise CommandError(f"the password is too long: {LONGEST_PASSWORD} octets at most")
    if len(password.decode("utf-8", "replace")) < shortest:
        raise CommandError(f"the password is too short: {shortest} characters at least")
    return password


def checked_name(name: str) -> str:
    """Refuse a display name that does not fit or would upset a terminal."""
    if len(name) > LONGEST_NAME:
        raise CommandError(f"the name is too long: {LONGEST_NAME} characters at most")
    if not name.isprintable():
        raise CommandError("the name holds a character that cannot be shown")
    return name


def checked_quota(most: int | None, unit: str) -> int | None:
    """Refuse a quota that is no limit; *unit* is what it counts."""
    if most is not None and not 1 <= most <= LARGEST_QUOTA:
        raise CommandError(f"a quota of {most} {unit} is not possible: 1 at least, or none at all")
    return most


def checked_own_quota(most: int | None, unit: str) -> int | None:
    """Refuse a quota of one account that is none; 0 is no limit, None the domain's."""
    return most if most == NO_LIMIT else checked_quota(most, unit)


def checked_daily(most: int | None) -> int | None:
    """Refuse a limit of a day that is none; 0 is no limit, None that of the settings."""
    if most is not None and not 0 <= most <= MOST_DAILY:
        raise CommandError(f"a limit of a day is a number up to {MOST_DAILY}")
    return most


def checked_language(language: str) -> str:
    """Refuse what is no language tag; RFC 5646. Notices are in English where there is no text."""
    if language and not _LANGUAGE.fullmatch(language):
        raise CommandError(f"{language!r} is no language: write en or zh, for example")
    return language


def checked_span(span: timedelta | None) -> timedelta | None:
    """Refuse a time that is none, or longer than a century."""
    if span is not None and not timedelta(0) < span <= timedelta(days=LONGEST_KEEP):
        raise CommandError("a time is above 0 and at most 36500d")
    return span


def checked_keep(days: int | None) -> int | None:
    """Refuse a number of days that is none."""
    if days is not None and not 1 <= days <= LONGEST_KEEP:
        raise CommandError(f"mail cannot be kept for {days} days: 1 to {LONGEST_KEEP}, or always")
    return days


def checked_page(most: int) -> int:
    """Refuse a page that is empty or too large for one answer."""
    if not 1 <= most <= LARGEST_PAGE:
        raise CommandError(f"a page has 1 to {LARGEST_PAGE} rows, not {most}")
    return most
