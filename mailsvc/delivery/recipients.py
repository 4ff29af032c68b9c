"""Who gets the mail for a recipient: asked at RCPT, by every way into the service."""

from collections.abc import Sequence

from mailsvc.config.settings import Relay
from mailsvc.errors import MailboxFull
from mailsvc.interfaces import IDirectory
from mailsvc.model.account import Account
from mailsvc.model.address import Address
from mailsvc.model.route import Route
from mailsvc.policy.quota import check_room, has_quota
from mailsvc.policy.relay import check_relay, check_route
from mailsvc.policy.srs import restored


async def find_recipient(
    directory: IDirectory,
    address: Address,
    login: Account | None,
    octets: int,
    relay: Relay = Relay.USERS,
) -> Route:
    """
    Find the mailboxes, here and elsewhere, that get a message for one recipient.

    Args:
        login: Who sends it; None: another server.
        octets: The size that the client has declared; 0: none.
        relay: Who may send to other servers.

    Returns:
        It is open: somebody gets the message.

    Raises:
        MailError: The recipient is refused; see ``policy.relay`` and ``policy.quota``.
    """
    if not await directory.is_local(address.domain):
        disabled = await directory.is_disabled(address.domain)
        return check_relay(address, relay, disabled=disabled, login=login)
    route = await directory.route(address)
    if not route.open:
        # A bounce to a sender that we have rewritten goes back to that sender.
        sender = restored(address, directory.secret())
        route = route if sender is None else Route((), remote=(sender,))
    check_route(route)
    if not route.remote:
        await _check_room(directory, route.accounts, octets)
    return route


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
