"""What goes into an administrator's command and what comes out of it."""

from dataclasses import dataclass
from datetime import timedelta

from mailsvc.model.account import AccountSummary, Role
from mailsvc.model.address import Address
from mailsvc.model.listener import ListenerState

LARGEST_PAGE = 200
"""Accounts in one answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """
    How the daemon is.

    Args:
        version: Of mailsvc.
        uptime: Since its start.
        fault: Why the database does not answer; None: it does, and only then the next
            four are known.
        engine: Name and version of the database.
        revision: Of its schema.
        waiting: Writes that wait for their commit.
        listeners: In the order of config.yaml.
    """

    version: str
    hostname: str
    pid: int
    uptime: timedelta
    fault: str | None
    engine: str | None
    revision: str | None
    domains: int | None
    accounts: int | None
    waiting: int
    listeners: tuple[ListenerState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """
    An account as an administrator asks for it.

    Args:
        address: As typed; without ``@`` it belongs to the first domain.
        password: None: one is made at random.
        quota_octets: None: no limit.
        quota_messages: None: no limit.
    """

    address: str
    password: bytes | None = None
    display_name: str = ""
    role: Role = Role.USER
    quota_octets: int | None = None
    quota_messages: int | None = None


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
class AccountPage:
    """
    Some accounts, in the order of their keys.

    Args:
        next: Give it back to get the page behind this one; None: this is the last one.
    """

    accounts: tuple[AccountSummary, ...]
    next: str | None
