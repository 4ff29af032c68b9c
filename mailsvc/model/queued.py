"""One recipient on another server, as it waits in the queue."""

from dataclasses import dataclass
from datetime import datetime

from mailsvc.model.ids import MessageId
from mailsvc.model.outgoing import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
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
    """

    id: int
    outcome: Outcome
    next_attempt: datetime
    text: str
    started: datetime
    host: str = ""
    tls: str = ""
    conversation: str = ""

    @property
    def ended(self) -> bool:
        """Whether there will be no other attempt."""
        return self.outcome in {Outcome.DONE, Outcome.BOUNCE}
