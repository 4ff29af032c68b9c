"""How much an account may send to other servers in a day."""

from enum import StrEnum
from typing import NamedTuple

from mailsvc.model.address import Address


class SendingLimits(NamedTuple):
    """
    What an account may do in a day that has no limits of its own; None: no limit.

    Args:
        messages: To other servers.
        new_recipients: Addresses on other servers to which it has never written.
    """

    messages: int | None
    new_recipients: int | None


class LimitKind(StrEnum):
    """Which limit was reached."""

    MESSAGES = "messages"
    NEW_RECIPIENTS = "new_recipients"


class LimitNotice(NamedTuple):
    """
    Tells that an account has reached a limit.

    Args:
        to: Who is told: the owner, or an administrator.
        owner: Whose account it is.
        language: Of whoever is told.
        most: The limit.
    """

    to: Address
    owner: Address
    language: str
    kind: LimitKind
    most: int
