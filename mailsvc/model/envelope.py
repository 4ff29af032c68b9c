"""What a client told us about a message before it sent the message."""

from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from mailsvc.model.account import Account
from mailsvc.model.address import Address


class Body(StrEnum):
    """The BODY parameter of MAIL; RFC 6152 section 2."""

    SEVENBIT = "7BIT"
    EIGHTBIT = "8BITMIME"


@lru_cache(maxsize=1024)
def _is_loopback(ip: str) -> bool:
    try:
        return ip_address(ip).is_loopback
    except ValueError:
        return False


class Client(NamedTuple):
    """
    Who is at the other end of a connection.

    Args:
        ip: Its address, IPv4 or IPv6, without brackets.
        port: Its port; 0 where there is none.
    """

    ip: str
    port: int

    @property
    def literal(self) -> str:
        """Its address as RFC 5321 section 4.1.3 writes it."""
        return f"[IPv6:{self.ip}]" if ":" in self.ip else f"[{self.ip}]"

    @property
    def on_this_machine(self) -> bool:
        """Whether it came over the loopback interface, which nobody can listen to."""
        return _is_loopback(self.ip)


class Recipient(NamedTuple):
    """
    One accepted RCPT.

    Args:
        address: As the client wrote it.
        account: Whose inbox it goes to, as looked up at RCPT.
    """

    address: Address
    account: Account


class Envelope(NamedTuple):
    """
    All that is known of a message besides its content; RFC 5321 section 2.3.1.

    Args:
        client: Who sends it.
        helo: The argument of its HELO or EHLO.
        protocol: The ``with`` keyword of Received; RFC 3848.
        login: The account that the client logged in to; None: no login.
        sender: The reverse-path; None: the null path ``<>``.
        recipients: Every accepted recipient, in order, at least one.
        body: What the client declared.
        received: When the content was complete; aware UTC.
    """

    client: Client
    helo: str
    protocol: str
    login: Account | None
    sender: Address | None
    recipients: tuple[Recipient, ...]
    body: Body
    received: datetime
