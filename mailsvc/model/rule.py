"""Rules of an administrator: who is kept out, and who is let in all the same."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Action(StrEnum):
    """What a rule does."""

    ALLOW = "allow"
    DENY = "deny"


class RuleKind(StrEnum):
    """What a rule matches."""

    ADDRESS = "address"
    DOMAIN = "domain"
    NETWORK = "cidr"


class Direction(StrEnum):
    """Which way mail goes, as the client or the address sees it; empty: both."""

    BOTH = ""
    SEND = "send"
    RECEIVE = "receive"


@dataclass(frozen=True, slots=True)
class Rule:
    """
    One rule.

    Args:
        number: Names it.
        subject: The key of an address, a domain (``*.`` in front: what is below it), or a
            network in CIDR notation.
        service: ``smtp``, ``pop3`` or ``web``; empty: all.
        note: For people.
        expires: From then on it does not count, UTC; None: for ever.
    """

    number: int
    kind: RuleKind
    subject: str
    action: Action
    service: str
    direction: Direction
    note: str
    created: datetime
    expires: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRule:
    """
    A rule as an administrator asks for it.

    Args:
        subject: An address, a domain, or an IP address or network, as typed.
        service: As in ``Rule``.
        span: How long it counts; None: for ever.
    """

    action: Action
    subject: str
    service: str = ""
    direction: Direction = Direction.BOTH
    note: str = ""
    span: timedelta | None = None


@dataclass(frozen=True, slots=True)
class RuleTest:
    """
    What the rules say to one thing that a client may want.

    Args:
        what: For people.
        allowed: Whether it may.
        number: The rule that decides; None: no rule matches, so it may.
        subject: Of that rule; empty: none.
    """

    what: str
    allowed: bool
    number: int | None = None
    subject: str = ""
