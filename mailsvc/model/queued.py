"""One recipient on another server, as it waits in the queue."""

from datetime import datetime
from typing import NamedTuple

from mailsvc.model.address import Address
from mailsvc.model.envelope import DeliverBy
from mailsvc.model.ids import MessageId
from mailsvc.model.outgoing import Outcome
from mailsvc.model.status import Status


class Queued(NamedTuple):
    """
    One recipient of a message that leaves.

    Args:
        id: Names the row.
        sender: The reverse-path; empty: null.
        recipient: The forward-path.
        domain: Of the forward-path, A-labels: mail for it leaves together.
        attempts: How many there were.
        expires: When to give up, aware UTC.
        notify: NOTIFY as RFC 3461 writes it; empty: the sender has not said.
        returns: RET, likewise.
        identifier: ENVID, decoded.
        original: ORCPT, decoded.
        created: When it was accepted, aware UTC.
        require_tls: It leaves over verified TLS or not at all; RFC 8689.
        notice_at: When the sender is told of a delay, aware UTC; None: never, or done.
        deliver_by: RFC 2852; None: no deadline.
    """

    id: int
    message: MessageId
    sender: str
    recipient: str
    domain: str
    attempts: int
    expires: datetime
    created: datetime
    notify: str = ""
    returns: str = ""
    identifier: str = ""
    original: str = ""
    require_tls: bool = False
    notice_at: datetime | None = None
    deliver_by: DeliverBy | None = None


class Settled(NamedTuple):
    """
    What became of one attempt.

    Args:
        id: Of the row.
        outcome: ``DONE`` and ``BOUNCE`` end it; the others wait for another attempt.
        next_attempt: When, aware UTC; meaningless at an end.
        text: What the server has said, in one line.
        host: The server; empty: none was reached.
        tls: The cipher; empty: there was none.
        conversation: What was said.
        started: When the attempt began, aware UTC.
        status: RFC 3463.
        report: What the sender is told: the action of RFC 3464 section 2.3.3; empty: nothing.
    """

    id: int
    outcome: Outcome
    next_attempt: datetime
    text: str
    started: datetime
    host: str = ""
    tls: str = ""
    conversation: str = ""
    status: Status = Status(2, 0, 0)
    report: str = ""

    @property
    def ended(self) -> bool:
        """Whether there will be no other attempt."""
        return self.outcome in {Outcome.DONE, Outcome.BOUNCE}


class QueueLease(NamedTuple):
    """
    Who has rows in hand, so that nobody else tries them.

    Args:
        owner: A number that no other courier has.
        until: Then they are free again, aware UTC.
    """

    owner: int
    until: datetime


class Attempted(NamedTuple):
    """
    One attempt with recipients of one message that have the same sender.

    Args:
        owner: Who holds their rows.
        pairs: Each row with what became of it; one at least.
    """

    owner: int
    pairs: tuple[tuple[Queued, Settled], ...]


class Telling(NamedTuple):
    """
    What a sender is to be told of an attempt.

    Args:
        recipient: Who is told.
        pairs: The rows that are told of.
        start: The message, or its start with the whole header; without Return-Path.
        whole: Whether all of it is shown.
    """

    recipient: Address
    pairs: tuple[tuple[Queued, Settled], ...]
    start: bytes
    whole: bool


class Letter(NamedTuple):
    """
    A message as it is stored.

    Args:
        octets: Of all of it.
        skip: Octets of the Return-Path field, which does not leave.
        body: All of it; None: it is read piece by piece.
    """

    octets: int
    skip: int
    body: bytes | None
