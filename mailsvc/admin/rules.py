"""What an administrator may ask for; each rule gives its value back or refuses it in words."""

from mailsvc.admin.values import LARGEST_PAGE
from mailsvc.config.settings import Kind
from mailsvc.errors import CommandError
from mailsvc.model.address import Address, BadAddress, parse_address

SHORTEST_PASSWORD = 8
"""Characters; NIST SP 800-63B section 5.1.1.2."""
LONGEST_PASSWORD = 1024
"""Octets."""
LONGEST_NAME = 255
"""Characters of a display name."""
LARGEST_QUOTA = (1 << 63) - 1
"""What a column of the database holds."""
LONGEST_KEEP = 36_500
"""Days; whoever wants more keeps mail for ever."""
SERVICES = tuple(sorted({kind.service for kind in Kind}))
"""What can be started and stopped."""


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


def checked_password(password: bytes) -> bytes:
    """Refuse a password that no client could send, or that anyone could guess."""
    if any(octet in password for octet in b"\r\n\0"):
        raise CommandError("a password is one line without NUL")
    if len(password) > LONGEST_PASSWORD:
        raise CommandError(f"the password is too long: {LONGEST_PASSWORD} octets at most")
    if len(password.decode("utf-8", "replace")) < SHORTEST_PASSWORD:
        raise CommandError(f"the password is too short: {SHORTEST_PASSWORD} characters at least")
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


def checked_keep(days: int | None) -> int | None:
    """Refuse a number of days that is none."""
    if days is not None and not 1 <= days <= LONGEST_KEEP:
        raise CommandError(f"mail cannot be kept for {days} days: 1 to {LONGEST_KEEP}, or always")
    return days


def checked_service(service: str) -> str:
    """Refuse what is no service."""
    if service not in SERVICES:
        raise CommandError(f"there is no service {service!r}: it is {' or '.join(SERVICES)}")
    return service


def checked_page(most: int) -> int:
    """Refuse a page that is empty or too large for one answer."""
    if not 1 <= most <= LARGEST_PAGE:
        raise CommandError(f"a page has 1 to {LARGEST_PAGE} accounts, not {most}")
    return most
