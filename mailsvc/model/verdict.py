"""What a filter says of a message."""

from dataclasses import dataclass
from enum import IntEnum

from mailsvc.model.status import Status


class Decision(IntEnum):
    """The strictest wins, so the order counts."""

    PASS = 0
    TEMPFAIL = 1
    REJECT = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    One filter's opinion, as data.

    Args:
        decision: What to do with the message.
        status: What the client is told; for TEMPFAIL and REJECT.
        reason: In words, for the client and the trail; safe to show.
    """

    decision: Decision
    status: Status | None = None
    reason: str = ""


PASS = Verdict(Decision.PASS)


def reject(status: Status, reason: str) -> Verdict:
    """Refuse for good; *status* is of class 5."""
    return Verdict(Decision.REJECT, status, reason)


def tempfail(status: Status, reason: str) -> Verdict:
    """Refuse for now; *status* is of class 4."""
    return Verdict(Decision.TEMPFAIL, status, reason)
