"""Who somebody is, outside of mail sessions: for the control channel, and for the web."""

from mailsvc.auth.checkers import AccountChecker, WrongPassword
from mailsvc.auth.credentials import ClientPassword
from mailsvc.interfaces import IDirectory
from mailsvc.model.account import Account, Scope
from mailsvc.model.envelope import Client
from mailsvc.model.ids import AccountId


class Prover:
    """
    Checks a password; whoever guesses is held up as at any login.

    Args:
        checker: Checks.
        directory: Knows the accounts.
    """

    def __init__(self, checker: AccountChecker, directory: IDirectory) -> None:
        self._checker = checker
        self._directory = directory

    async def prove(self, username: str, password: bytes, client: Client) -> Account:
        """
        Find out who it is.

        Raises:
            LoginFailed: Unknown user, wrong password, or a disabled account.
            TooManyFailures: Client or account must wait; nothing was looked at.
            TooBusy, StorageFailed: It cannot be said now.
        """
        said = ClientPassword(username.encode(), password, client, Scope.WEB)
        number = await self._checker.requestAvatarId(said)
        account = await self._directory.by_id(AccountId(int(number or 0)))
        if account is None or not account.enabled:
            raise WrongPassword
        return account
