"""What a client told us about a message before it sent the message."""

from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from mailsvc.model.account import Account
from mailsvc.model.address import Address


class Body(StrEnum):
    """The BODY parameter of MAIL; RFC 6152 section 2, RFC 3030 section 3."""

    SEVENBIT = "7BIT"
    EIGHTBIT = "8BITMIME"
    BINARY = "BINARYMIME"


class Notify(StrEnum):
    """When the sender wants a report; RFC 3461 section 4.1."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


class Return(StrEnum):
    """How much of the message a report of failure holds; RFC 3461 section 4.3."""

    FULL = "FULL"
    HEADERS = "HDRS"


class DeliverBy(NamedTuple):
    """
    The BY parameter of MAIL; RFC 2852 section 4.

    Args:
        until: Aware UTC.
        returns: After it: send the message back; else tell the sender and go on.
        trace: Report each hop.
    """

    until: datetime
    returns: bool
    trace: bool

    @property
    def mode(self) -> str:
        """How BY writes it, behind the semicolon."""
        return f"{'R' if self.returns else 'N'}{'T' if self.trace else ''}"


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
        accounts: Whose inboxes it goes to, as looked up at RCPT, each once.
        notify: When the sender wants a report; empty: the sender has not said.
        original: ORCPT, decoded, such as ``rfc822;bob@example.com``; empty: none.
        remote: The addresses on other servers that it goes to: its own, or those behind it;
            with *accounts* one at least.
    """

    address: Address
    accounts: tuple[Account, ...]
    notify: frozenset[Notify] = frozenset()
    original: str = ""
    remote: tuple[Address, ...] = ()


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
        cipher: Of the TLS connection it came over, by its IANA name; empty: no TLS.
        utf8: Addresses or header fields may hold UTF-8; RFC 6531.
        returns: How much a report of failure holds; None: the sender has not said.
        identifier: ENVID, decoded; empty: none. RFC 3461 section 4.4.
        require_tls: It must leave over verified TLS or not at all; RFC 8689.
        deliver_by: RFC 2852; None: no deadline.
    """

    client: Client
    helo: str
    protocol: str
    login: Account | None
    sender: Address | None
    recipients: tuple[Recipient, ...]
    body: Body
    received: datetime
    cipher: str = ""
    utf8: bool = False
    returns: Return | None = None
    identifier: str = ""
    require_tls: bool = False
    deliver_by: DeliverBy | None = None
