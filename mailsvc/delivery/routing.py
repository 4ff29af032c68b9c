"""Where a message goes, from its envelope alone."""

from mailsvc.model.envelope import Envelope
from mailsvc.store.deliveries import Target


def targets_of(envelope: Envelope) -> tuple[Target, ...]:
    """
    List the folders that get the message, each once.

    Two recipients that are one mailbox (``bob`` and ``BOB``, or ``postmaster`` and its
    administrator) get one copy, as users expect.
    """
    found: dict[int, Target] = {}
    for recipient in envelope.recipients:
        account = recipient.account
        found.setdefault(
            account.inbox,
            Target(
                account=account.id,
                folder=account.inbox,
                recipient=str(recipient.address),
                quota_octets=account.quota_octets,
                quota_messages=account.quota_messages,
            ),
        )
    return tuple(found.values())
