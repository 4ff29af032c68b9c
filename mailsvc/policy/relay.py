"""Whose mail we take: never an open relay; RFC 5321 section 7.1, RFC 6409 section 6."""

from mailsvc.config.settings import Relay, WithoutTls
from mailsvc.errors import (
    DomainDisabled,
    MailboxDisabled,
    MailError,
    MailLoop,
    NoSuchMailbox,
    RelayDenied,
)
from mailsvc.model.account import Account
from mailsvc.model.address import Address
from mailsvc.model.envelope import Client
from mailsvc.model.route import DeadEnd, Route
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
        owner: Whose own address or alias the reverse-path is; None: nobody's here.

    Raises:
        SenderNotYours: A user sends under a foreign address.
    """
    if owner is None or owner.id != login.id:
        raise SenderNotYours


def check_relay(address: Address, rule: Relay, *, disabled: bool, login: Account | None) -> Route:
    """
    Decide on RCPT for a domain that is not ours, or not in use.

    Args:
        rule: Who may send to other servers.
        disabled: The domain is ours and switched off.
        login: Who is logged in; None: mail from another server.

    Raises:
        DomainDisabled: It is.
        RelayDenied: The mail may not leave.
    """
    if disabled:
        raise DomainDisabled
    if login is None:
        raise RelayDenied
    if rule is Relay.NOBODY:
        raise RelayDenied("This server delivers to its own domains only")
    return Route((), remote=(address,))


_DEAD_ENDS: dict[DeadEnd, type[MailError]] = {
    DeadEnd.UNKNOWN: NoSuchMailbox,
    DeadEnd.DISABLED: MailboxDisabled,
    DeadEnd.CIRCLE: MailLoop,
}


def check_route(route: Route) -> Route:
    """
    Decide on RCPT for a domain of ours.

    Returns:
        The same; somebody gets the mail.

    Raises:
        NoSuchMailbox: Nobody has that address.
        MailboxDisabled: All it leads to is switched off.
        MailLoop: It leads to itself only.
    """
    if not route.open:
        raise _DEAD_ENDS[route.dead_end]
    return route


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
