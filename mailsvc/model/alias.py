"""Addresses that lead to other addresses."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailsvc.model.address import Address


class AliasKind(StrEnum):
    """
    What an address is that leads elsewhere.

    An alias is another name of one mailbox, a group has members, and a forward sends on the
    mail of an account.
    """

    ALIAS = "alias"
    GROUP = "group"
    FORWARD = "forward"


@dataclass(frozen=True, slots=True)
class AliasSummary:
    """
    An alias, a group or a forward as administrators see it.

    Args:
        targets: Where its mail goes; the own address of a forward keeps a copy.
        enabled: False: mail for an alias or a group is refused, and an account keeps its mail.
    """

    address: Address
    kind: AliasKind
    targets: tuple[Address, ...]
    enabled: bool
    created: datetime

    @property
    def keeps(self) -> bool:
        """Whether the account keeps a copy of what it forwards."""
        return any(target.key == self.address.key for target in self.targets)


@dataclass(frozen=True, slots=True)
class NewAlias:
    """
    An alias, a group or a forward as an administrator asks for it.

    Args:
        address: As typed, like the targets; without ``@`` it belongs to the first domain.
        targets: An alias has one, a group any number, a forward one at least.
    """

    kind: AliasKind
    address: str
    targets: tuple[str, ...]
