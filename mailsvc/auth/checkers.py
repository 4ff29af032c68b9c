"""The credentials checkers of ``twisted.cred`` over our accounts."""

from collections.abc import Callable
from typing import cast

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mailsvc.auth.credentials import IClientPassword, IProven
from mailsvc.auth.guard import LoginGuard
from mailsvc.auth.names import find_user, read_name
from mailsvc.auth.passwords import NOBODY, Passwords
from mailsvc.errors import LoginFailed
from mailsvc.interfaces import IDirectory
from mailsvc.model.account import Account, Verifier

AvatarId = bytes | tuple[()]
"""The number of an account in decimal digits; Twisted's ANONYMOUS is ``()``."""


class WrongPassword(LoginFailed, UnauthorizedLogin):
    """The one answer to a wrong password and to an unknown user."""


@implementer(ICredentialsChecker)
class AccountChecker:
    """
    Checks user name and password against the accounts.

    Args:
        directory: Where accounts are found.
        passwords: What checks them.
        guard: Holds up those who guess.
        learn: Told of each right password and the credential it belongs to.
    """

    credentialInterfaces = (IClientPassword,)

    def __init__(
        self,
        directory: IDirectory,
        passwords: Passwords,
        guard: LoginGuard,
        learn: Callable[[Verifier, bytes], None] = lambda *_: None,
    ) -> None:
        self._directory = directory
        self._passwords = passwords
        self._guard = guard
        self._learn = learn

    def requestAvatarId(self, credentials: object) -> "Deferred[AvatarId]":
        """
        Check.

        Fails with ``WrongPassword`` for everything that is not right, with ``HeldUp`` when
        too much was not, and with ``TooBusy``.
        """
        return Deferred.fromCoroutine(self._check(cast("IClientPassword", credentials)))

    async def _check(self, credentials: IClientPassword) -> AvatarId:
        client = credentials.client
        name = await read_name(self._directory, credentials.username)
        self._guard.admit(client, name.key)
        account = await find_user(self._directory, name, fresh=True)
        with self._guard.place(client):
            right = await self._find_right(account, credentials)
        if account is None or right is None:
            self._guard.failed(client, name.key)
            raise WrongPassword
        self._guard.passed(client, name.key)
        self._learn(right, credentials.password)
        return b"%d" % account.id

    async def _find_right(
        self, account: Account | None, credentials: IClientPassword
    ) -> Verifier | None:
        """Find the credential that the password belongs to."""
        verifiers = () if account is None else account.verifiers_for(credentials.scope)
        # Whoever does not exist is checked all the same: it takes as long.
        for verifier in verifiers or (NOBODY,):
            if await self._passwords.matches(verifier, credentials.password):
                return verifier
        return None


@implementer(ICredentialsChecker)
class ProofChecker:
    """Lets those in whose proof was seen."""

    credentialInterfaces = (IProven,)

    def requestAvatarId(self, credentials: object) -> "Deferred[AvatarId]":
        """Tell who it is."""
        return succeed(b"%d" % cast("IProven", credentials).account)
