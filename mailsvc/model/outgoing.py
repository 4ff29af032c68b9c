"""A message on its way to another server, and what became of it there."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from mailsvc.model.address import Address
from mailsvc.model.envelope import DeliverBy, Notify, Return
from mailsvc.model.status import Status


class Answer(NamedTuple):
    """
    One reply of a server; RFC 5321 section 4.2.

    Args:
        code: Three digits.
        lines: What it says, without code and line ends; one at least.
    """

    code: int
    lines: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether the server has done it, or wants to hear more."""
        return self.code < 400  # noqa: PLR2004 - 2yz and 3yz

    @property
    def permanent(self) -> bool:
        """Whether trying again is useless."""
        return self.code >= 500  # noqa: PLR2004 - 5yz

    def __str__(self) -> str:
        """Write it in one line."""
        return f"{self.code} {' '.join(self.lines)}"


class OutgoingRecipient(NamedTuple):
    """
    One forward-path of a message that leaves.

    Args:
        notify: When the sender wants a report; empty: the sender has not said.
        original: ORCPT, decoded; empty: none.
    """

    address: Address
    notify: frozenset[Notify] = frozenset()
    original: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """
    All that a server hears of a message before its content.

    Args:
        sender: The reverse-path; None: the null path.
        recipients: One at least.
        octets: Size of the content.
        eight_bit: The content has octets above 127.
        utf8: A header field is in UTF-8: RFC 6531 is needed whatever the addresses are.
        returns: RET; None: the sender has not said.
        identifier: ENVID, decoded; empty: none.
        require_tls: RFC 8689: it goes no further without verified TLS.
        deliver_by: RFC 2852; None: no deadline.
    """

    sender: Address | None
    recipients: tuple[OutgoingRecipient, ...]
    octets: int
    eight_bit: bool = False
    utf8: bool = False
    returns: Return | None = None
    identifier: str = ""
    require_tls: bool = False
    deliver_by: DeliverBy | None = None


class Outcome(StrEnum):
    """What became of a message for one recipient."""

    DONE = "done"
    LATER = "later"
    BOUNCE = "bounce"
    UNKNOWN = "unknown"
    """The server has all of it and has not answered: it may have it, or not."""


class Fate(NamedTuple):
    """
    The outcome for one recipient.

    Args:
        status: RFC 3463.
        text: What the server has said, or what is wrong, in one line.
        relayed_without_dsn: The server took it and will send no report of its own.
        relayed_without_by: The server took it and knows nothing of its deadline.
    """

    outcome: Outcome
    status: Status
    text: str
    relayed_without_dsn: bool = False
    relayed_without_by: bool = False
