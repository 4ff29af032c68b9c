"""How much mail an account may hold, and who says so."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from mailsvc.model.address import Address

SHARES_TOLD = (95, 80)
"""Percent of a quota that an owner hears of, each once until usage falls below it."""
NO_LIMIT = 0
"""What an account has in the database that is unlimited although its domain is not."""


class QuotaSource(StrEnum):
    """Who has set a quota."""

    ACCOUNT = "account"
    DOMAIN = "domain"
    NOBODY = "nobody"


class Quota(NamedTuple):
    """
    The quota in force, of octets or of messages.

    Args:
        most: None: no limit.
        source: Who says so.
    """

    most: int | None
    source: QuotaSource


class Usage(NamedTuple):
    """What all folders of an account hold."""

    octets: int
    messages: int


def effective(own: int | None, of_domain: int | None) -> Quota:
    """
    Tell which quota is in force.

    Args:
        own: The account's; 0: no limit, None: the domain's counts.
        of_domain: The default of its domain; None: no limit.
    """
    if own is not None:
        return Quota(own or None, QuotaSource.ACCOUNT)
    if of_domain is not None:
        return Quota(of_domain, QuotaSource.DOMAIN)
    return Quota(None, QuotaSource.NOBODY)


class QuotaNotice(NamedTuple):
    """
    What an owner is told whose mailbox is nearly full.

    Args:
        language: The owner's, such as ``zh``; empty: not chosen.
        share: Percent of the quota; one of ``SHARES_TOLD``.
        now: Aware UTC.
    """

    owner: Address
    language: str
    share: int
    usage: Usage
    quota_octets: int | None
    quota_messages: int | None
    now: datetime


def share_told(usage: Usage, quota_octets: int | None, quota_messages: int | None) -> int:
    """Tell which of ``SHARES_TOLD`` a usage has reached, of octets or of messages; 0: none."""
    pairs = ((usage.octets, quota_octets), (usage.messages, quota_messages))
    for share in SHARES_TOLD:
        if any(most is not None and used * 100 >= share * most for used, most in pairs):
            return share
    return 0
