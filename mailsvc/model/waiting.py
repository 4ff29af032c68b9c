"""The queue as an administrator sees it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailsvc.model.outgoing import Outcome


class QueueAction(StrEnum):
    """What can be done with mail that waits."""

    RETRY = "retry"
    HOLD = "hold"
    RELEASE = "release"
    DELETE = "delete"
    BOUNCE = "bounce"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """
    Which recipients of the queue are meant; all conditions count together.

    Args:
        message: The number of their message, as in replies and Received; empty: any.
        sender: The reverse-path; ``<>``: the null path; empty: any.
        recipient: The forward-path; empty: any.
        domain: Of the forward-path; empty: any.
        held: Only those that an administrator holds.
        everything: Needed where there is no other condition.
    """

    message: str = ""
    sender: str = ""
    recipient: str = ""
    domain: str = ""
    held: bool = False
    everything: bool = False


ALL = Pick(everything=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """
    One recipient that waits.

    Args:
        number: Of the row.
        message: The number of the message, as in replies and Received.
        sender: Empty: the null path.
        octets: Of the message.
        attempts: How many there were.
        created: When the message was accepted, aware UTC.
        next_attempt: When it is tried again, aware UTC.
        expires: When it goes back to its sender, aware UTC.
        under_way: A courier has it now.
        reply: The end of the latest attempt; empty: there was none.
    """

    number: int
    message: str
    sender: str
    recipient: str
    octets: int
    attempts: int
    created: datetime
    next_attempt: datetime
    expires: datetime
    held: bool
    under_way: bool
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """
    One attempt to deliver a message to a recipient.

    Args:
        number: Of the row.
        queue: The number of the recipient's row in the queue.
        started: Aware UTC.
        ended: Aware UTC.
        host: The server; empty: none was reached.
        tls: The cipher; empty: there was none.
        conversation: What was said, in lines.
    """

    number: int
    queue: int
    started: datetime
    ended: datetime
    host: str
    tls: str
    outcome: Outcome
    conversation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueChange:
    """
    What a command has done to the queue.

    Args:
        changed: Recipients that it was done with.
        left: Recipients that are under way, and were left alone.
    """

    changed: int
    left: int
