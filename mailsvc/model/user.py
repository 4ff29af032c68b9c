"""Accounts as an administrator asks for them and hears of them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mailsvc.model.account import Role, Switch
from mailsvc.model.address import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """
    An account as an administrator asks for it.

    Args:
        address: As typed; without ``@`` it belongs to the first domain.
        password: None: one is made at random.
        quota_octets: None: the domain's; 0: no limit.
        quota_messages: None: the domain's; 0: no limit.
        language: Of notices, such as ``zh``; empty: English.
        enabled: Whether its user may log in, and gets mail.
    """

    address: str
    password: bytes | None = None
    display_name: str = ""
    role: Role = Role.USER
    quota_octets: int | None = None
    quota_messages: int | None = None
    language: str = ""
    enabled: bool = True


DOMAINS_QUOTA = -1
"""For ``UserChange``: the account shall have no quota of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChange:
    """
    What becomes different at an account; None: it stays as it is.

    Args:
        address: As typed.
        language: Of notices, such as ``zh``; empty: English.
        quota_octets: 0: no limit; ``DOMAINS_QUOTA``: the domain's.
        quota_messages: 0: no limit; ``DOMAINS_QUOTA``: the domain's.
        daily_messages: To other servers; 0: no limit; ``DOMAINS_QUOTA``: what the settings say.
        daily_recipients: New ones on other servers; likewise.
    """

    address: str
    display_name: str | None = None
    language: str | None = None
    quota_octets: int | None = None
    quota_messages: int | None = None
    daily_messages: int | None = None
    daily_recipients: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSwitch:
    """
    A switch of an account to be turned.

    Args:
        address: As typed.
        span: How long; it turns back by itself then. None: until somebody turns it.
    """

    address: str
    switch: Switch
    on: bool
    span: timedelta | None = None


@dataclass(frozen=True, slots=True)
class NewLogin:
    """
    What a user needs to log in.

    Args:
        address: The user name.
        password: The one made at random, nowhere else to be seen; None: it was given.
    """

    address: Address
    password: str | None


@dataclass(frozen=True, slots=True)
class Turned:
    """
    A switch that was turned.

    Args:
        until: When it turns back by itself, UTC; None: never.
    """

    address: Address
    until: datetime | None
