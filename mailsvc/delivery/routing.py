"""Where a message goes, from its envelope alone."""

from mailsvc.model.account import Account
from mailsvc.model.address import Address
from mailsvc.model.envelope import Envelope
from mailsvc.store.delivery import Target


def targets_of(envelope: Envelope) -> tuple[Target, ...]:
    """
    List the folders that get the message, each once.

    Two recipients that are one mailbox (``bob`` and ``BOB``, or a group and its member) get
    one copy, as users expect.
    """
    found: dict[int, Target] = {}
    for recipient in envelope.recipients:
        alone = len(recipient.accounts) == 1
        for account in recipient.accounts:
            known = found.get(account.inbox)
            if known is None:
                target = target_of(recipient.address, account)
                found[account.inbox] = target if alone else target._replace(required=False)
            elif alone and not known.required:
                found[account.inbox] = known._replace(required=True)
    return tuple(found.values())


def target_of(address: Address, account: Account) -> Target:
    """Give the folder that the mail for an account goes to; *address* is for the trail."""
    return Target(
        account=account.id,
        folder=account.inbox,
        recipient=str(address),
        quota_octets=account.quota_octets,
        quota_messages=account.quota_messages,
    )
