"""From the name that a client logs in with to the account."""

from typing import NamedTuple

from mailsvc.interfaces import IDirectory
from mailsvc.model.account import Account
from mailsvc.model.address import Address, BadAddress, parse_address

_LONGEST_KEY = 255
"""Characters; the rest of a longer name tells nothing."""


class LoginName(NamedTuple):
    """
    A user name that was read.

    Args:
        key: The same for all spellings of one user, known or not; failed logins are counted
            by it.
        address: None: it cannot be anybody's.
    """

    key: str
    address: Address | None


async def read_name(directory: IDirectory, username: bytes) -> LoginName:
    """Read a user name; one without a domain belongs to the first domain."""
    try:
        text = username.decode("utf-8")
        if "@" not in text:
            text = f"{text}@{await directory.home() or 'localhost'}"
        address = parse_address(text, utf8=True)
    except (UnicodeDecodeError, BadAddress):
        return LoginName(username[:_LONGEST_KEY].decode("latin-1"), None)
    return LoginName(address.key, address)


async def find_user(
    directory: IDirectory, name: LoginName, *, fresh: bool = False
) -> Account | None:
    """Find the account whose user has that name; *fresh*: for a login, see ``IDirectory``."""
    if name.address is None:
        return None
    account = await directory.find(name.address, fresh=fresh)
    # "postmaster" finds an administrator's mailbox, but it is no name to log in with.
    return account if account is not None and account.address.key == name.key else None
