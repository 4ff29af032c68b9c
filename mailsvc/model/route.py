"""Where the mail for an address goes."""

from dataclasses import dataclass
from enum import Enum

from mailsvc.model.account import Account
from mailsvc.model.address import Address


class DeadEnd(Enum):
    """Why the mail for an address goes nowhere."""

    UNKNOWN = "unknown"
    DISABLED = "disabled"
    CIRCLE = "circle"


@dataclass(frozen=True, slots=True)
class Route:
    """
    Where the mail for an address goes; a few seconds old at most.

    Args:
        accounts: Those that get its mail, all enabled, each once. Their ``verifiers`` are not
            read.
        remote: Addresses on other servers that get it, too, each once.
        dead_end: Why there is none; meaningless when there is one.
    """

    accounts: tuple[Account, ...]
    dead_end: DeadEnd = DeadEnd.UNKNOWN
    remote: tuple[Address, ...] = ()

    @property
    def open(self) -> bool:
        """Whether anybody gets the mail."""
        return bool(self.accounts or self.remote)
