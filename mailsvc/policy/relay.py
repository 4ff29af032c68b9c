"""Whose mail we take: never an open relay; RFC 5321 section 7.1, RFC 6409 section 6."""

from mailsvc.config.settings import WithoutTls
from mailsvc.errors import MailboxDisabled, MailError, NoSuchMailbox, RelayDenied
from mailsvc.model.account import Account
from mailsvc.model.envelope import Client
from mailsvc.model.status import Status


class SenderNotYours(MailError):
    """A user may send under the own address only; RFC 6409 section 6.1."""

    status = Status(5, 7, 1)
    text = "The sender is not an address of the account that is logged in"


def check_sender(login: Account, owner: Account | None) -> None:
    """
    Decide on MAIL with a reverse-path that is not the address of the login.

    Args:
        login: Who is logged in.
        owner: Who gets mail for the reverse-path; None: nobody here.

    Raises:
        SenderNotYours: A user sends under a foreign address.
    """
    if owner is None or owner.id != login.id:
        raise SenderNotYours


def check_recipient(account: Account | None, *, local: bool, login: Account | None) -> Account:
    """
    Decide on RCPT.

    Args:
        account: Who gets mail for the address; None: nobody.
        local: Whether its domain is ours.
        login: Who is logged in; None: mail from another server.

    Returns:
        The account that gets the message.

    Raises:
        RelayDenied: The domain is not ours.
        NoSuchMailbox: It is, but nobody has that address.
        MailboxDisabled: The account is switched off.
    """
    if not local:
        if login is not None:
            raise RelayDenied("This server delivers to its own domains only")
        raise RelayDenied
    if account is None:
        raise NoSuchMailbox
    if not account.enabled:
        raise MailboxDisabled
    return account


def may_log_in(client: Client, rule: WithoutTls, *, secure: bool) -> bool:
    """
    Decide whether a password may be said on this connection.

    Args:
        client: Who is at the other end.
        rule: What config.yaml allows without TLS.
        secure: Whether the connection has TLS.
    """
    if secure or rule is WithoutTls.ALWAYS:
        return True
    return rule is WithoutTls.LOOPBACK and client.on_this_machine
