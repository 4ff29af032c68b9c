"""Whether a mailbox has room for a message; RFC 3463 section 3.3."""

from mailsvc.errors import MailboxFull, MailboxTooSmall
from mailsvc.model.account import Account
from mailsvc.model.quota import Usage


def has_quota(account: Account) -> bool:
    """Tell whether anything limits an account."""
    return account.quota_octets is not None or account.quota_messages is not None


def check_room(account: Account, usage: Usage, octets: int) -> None:
    """
    Decide at RCPT, before the message is there; the transaction of the delivery decides again.

    Args:
        usage: What its folders hold.
        octets: The size that the client has declared; 0: none.

    Raises:
        MailboxTooSmall: The message is larger than the whole quota: it never fits.
        MailboxFull: It does not fit now; after the owner has removed mail it may.
    """
    most_octets, most_messages = account.quota_octets, account.quota_messages
    if most_octets is not None and octets > most_octets:
        raise MailboxTooSmall
    if most_octets is not None and usage.octets + max(octets, 1) > most_octets:
        raise MailboxFull
    if most_messages is not None and usage.messages >= most_messages:
        raise MailboxFull
