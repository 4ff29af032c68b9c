"""Where the mail for an address goes."""

from dataclasses import dataclass
from enum import Enum

from mailsvc.model.account import Account


class DeadEnd(Enum):
    """Why the mail for an address goes nowhere."""

    UNKNOWN = "unknown"
    DISABLED = "disabled"
    CIRCLE = "circle"


@dataclass(frozen=True, slots=True)
class Route:
    """
    The mailboxes behind an address; a few seconds old at most.

    Args:
        accounts: Those that get its mail, all enabled, each once. Their ``verifiers`` are not
            read.
        dead_end: Why there is none; meaningless when there is one.
    """

    accounts: tuple[Account, ...]
    dead_end: DeadEnd = DeadEnd.UNKNOWN
