"""What happened, as the trail keeps it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from mailsvc.model.ids import AccountId, MessageId

EVENTS = (
    "accepted",
    "bounced",
    "broadcast",
    "control",
    "deferred",
    "login",
    "login failed",
    "notice",
    "queued",
    "refused",
    "removed",
    "report",
    "retrieved",
    "sent",
    "skipped",
)
"""Everything that rows of the trail tell of."""


class Happening(NamedTuple):
    """
    Something that no transaction of its own tells of: a refusal, a login, a message read.

    Args:
        event: ``refused``, ``login``, ``login failed``, ``retrieved`` or ``removed``.
        client_ip: Whose client.
        account: Whom it is about; None: nobody, or nobody we know.
        message: Which message; None: none, or it got no number.
        header_key: Finds its Message-ID; see ``header_key``.
        status: The enhanced status code, such as ``5.1.1``.
        detail: For people; never a password.
    """

    event: str
    client_ip: str
    account: AccountId | None = None
    sender: str = ""
    recipient: str = ""
    message: MessageId | None = None
    header_key: int | None = None
    status: str = ""
    detail: str = ""


Tell = Callable[[Happening], None]
"""Takes something down; never waits, never fails."""


Handling = tuple[str, str, AccountId, str, int]
"""What a user did with a message: event, the client's IP, who, the user's address, which."""


def untold(happening: Happening) -> None:
    """Take nothing down."""
    del happening


@dataclass(frozen=True, slots=True)
class StoryRow:
    """
    One row of the trail.

    Args:
        number: Names it.
        at: When, UTC.
        message: The number of the message as replies and Received have it; empty: none.
        account: The address of the account as it is now; empty: none, or it is gone.
    """

    number: int
    at: datetime
    event: str
    message: str
    account: str
    client_ip: str
    sender: str
    recipient: str
    status: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryFilter:
    """
    Which rows; what is empty does not matter, and all of the rest must hold.

    Args:
        since: Then or later, aware.
        until: Before, aware.
        account: The address of an account, as typed.
        address: Of a sender or a recipient.
        client_ip: Of a client.
        event: Its kind.
    """

    since: datetime | None = None
    until: datetime | None = None
    account: str = ""
    address: str = ""
    client_ip: str = ""
    event: str = ""


WHOLE_STORY = StoryFilter()
