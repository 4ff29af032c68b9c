"""The credentials checker of ``twisted.cred`` over our accounts."""

from typing import cast

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailsvc.auth.passwords import NOBODY, Passwords
from mailsvc.errors import LoginFailed
from mailsvc.interfaces import IDirectory
from mailsvc.model.account import Account
from mailsvc.model.address import Address, BadAddress, parse_address


class WrongPassword(LoginFailed, UnauthorizedLogin):
    """The one answer to a wrong password and to an unknown user."""


@implementer(ICredentialsChecker)
class AccountChecker:
    """
    Checks user name and password against the accounts.

    An avatar's id is the number of its account in decimal digits.

    Args:
        directory: Where accounts are found.
        passwords: What checks them.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, directory: IDirectory, passwords: Passwords) -> None:
        self._directory = directory
        self._passwords = passwords

    def requestAvatarId(self, credentials: object) -> "Deferred[bytes | tuple[()]]":
        """Check; fails with ``WrongPassword`` for everything that is not right."""
        return Deferred.fromCoroutine(self._check(cast("IUsernamePassword", credentials)))

    async def _check(self, credentials: IUsernamePassword) -> bytes | tuple[()]:
        username, password = credentials.username, credentials.password
        account = await self._find(username)
        # Whoever does not exist is checked all the same: it takes as long.
        verifiers = (account.verifiers if account is not None else ()) or (NOBODY,)
        for verifier in verifiers:
            if await self._passwords.matches(verifier, password) and account is not None:
                return b"%d" % account.id
        raise WrongPassword

    async def _find(self, username: bytes) -> Account | None:
        address = await self._address(username)
        if address is None:
            return None
        account = await self._directory.find(address)
        # "postmaster" finds an administrator's mailbox, but it is no name to log in with.
        return account if account is not None and account.address.key == address.key else None

    async def _address(self, username: bytes) -> Address | None:
        """Read a user name; one without a domain belongs to the first domain."""
        try:
            text = username.decode("utf-8")
            if "@" not in text:
                text = f"{text}@{await self._directory.home() or 'localhost'}"
            return parse_address(text, utf8=True)
        except (UnicodeDecodeError, BadAddress):
            return None
