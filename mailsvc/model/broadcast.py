"""A message from an administrator to many mailboxes."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Audience(StrEnum):
    """Who gets a broadcast."""

    ALL = "all"
    DOMAIN = "domain"
    GROUP = "group"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBroadcast:
    """
    A broadcast as an administrator asks for it.

    Args:
        name: The domain, or the address of the group, as typed; empty for everybody.
        sender: The address it comes from, as typed; empty: the postmaster of the first domain.
    """

    audience: Audience
    name: str = ""
    sender: str = ""


@dataclass(frozen=True, slots=True)
class BroadcastPreview:
    """
    What a broadcast would be.

    Args:
        sender: The address it would come from.
        name: The domain, or the address of the group, in whole; empty for everybody.
        mailboxes: How many would get it; those that are full or disabled are counted, too.
    """

    sender: str
    name: str
    mailboxes: int


@dataclass(frozen=True, slots=True)
class BroadcastState:
    """
    How far a broadcast is.

    Args:
        number: Names it.
        name: The domain, or the address of the group; empty for everybody.
        octets: The size of the message, which is stored once.
        total: Mailboxes when it began.
        delivered: Those that have it.
        skipped: Those that were full or disabled.
        ended: When, UTC; None: it is under way.
    """

    number: int
    audience: Audience
    name: str
    sender: str
    octets: int
    created: datetime
    created_by: str
    total: int
    delivered: int
    skipped: int
    ended: datetime | None = None
