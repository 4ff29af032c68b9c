"""Who gets the mail for a recipient: asked at RCPT, by every way into the service."""

from collections.abc import Sequence

from mailsvc.errors import MailboxFull
from mailsvc.interfaces import IDirectory
from mailsvc.model.account import Account
from mailsvc.model.address import Address
from mailsvc.policy.quota import check_room, has_quota
from mailsvc.policy.relay import check_route, refuse_recipient


async def find_mailboxes(
    directory: IDirectory, address: Address, login: Account | None, octets: int
) -> tuple[Account, ...]:
    """
    Find the mailboxes that get a message for one recipient.

    Args:
        login: Who sends it; None: another server.
        octets: The size that the client has declared; 0: none.

    Returns:
        One at least, each once.

    Raises:
        MailError: The recipient is refused; see ``policy.relay`` and ``policy.quota``.
    """
    if not await directory.is_local(address.domain):
        refuse_recipient(disabled=await directory.is_disabled(address.domain), login=login)
    accounts = check_route(await directory.route(address))
    await _check_room(directory, accounts, octets)
    return accounts


async def _check_room(directory: IDirectory, accounts: Sequence[Account], octets: int) -> None:
    """Refuse when nobody of them has room; who is full is left out by the delivery."""
    trouble: MailboxFull | None = None
    for account in accounts:
        try:
            await _check_one(directory, account, octets)
        except MailboxFull as error:
            # One that may fit tomorrow is worth another try.
            if trouble is None or trouble.status.permanent:
                trouble = error
        else:
            return
    if trouble is not None:
        raise trouble


async def _check_one(directory: IDirectory, account: Account, octets: int) -> None:
    """Look at what is remembered; nobody is refused for what was true a moment ago."""
    if not has_quota(account):
        return
    try:
        check_room(account, await directory.usage(account.id), octets)
    except MailboxFull:
        check_room(account, await directory.usage(account.id, fresh=True), octets)
