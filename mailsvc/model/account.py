"""What the service knows of one user while it talks to a client."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from mailsvc.model.address import Address
from mailsvc.model.ids import AccountId, CredentialId, FolderId
from mailsvc.model.quota import QuotaSource


class Role(StrEnum):
    """What an account may do besides reading and writing mail."""

    USER = "user"
    ADMIN = "admin"


class Scope(StrEnum):
    """A front end that a login can be for; the switches of an account have these names."""

    SMTP = "smtp"
    POP3 = "pop3"
    WEB = "web"


class Switch(StrEnum):
    """What can be switched of an account: the whole of it, or one front end as in ``Scope``."""

    ENABLED = "enabled"
    SMTP = "smtp"
    POP3 = "pop3"
    WEB = "web"


@dataclass(frozen=True, slots=True)
class Turn:
    """
    A switch that will turn by itself.

    Args:
        at: When, UTC.
    """

    switch: Switch
    at: datetime


class StoredPassword(NamedTuple):
    """
    What is kept of a password.

    Args:
        hashed: An Argon2id string in the PHC format.
        scram: Keys for SCRAM-SHA-256 as ``auth.scram`` writes them; None: made at the first
            login that says the password.
    """

    hashed: str
    scram: str | None = None


@dataclass(frozen=True, slots=True)
class Verifier:
    """
    One way to prove to be the owner of an account.

    Args:
        id: Names the row; a changed password is a changed ``hashed``.
        hashed: An Argon2id string in the PHC format.
        scram: Keys for SCRAM-SHA-256 as ``auth.scram`` writes them; None: there are none yet.
        scopes: The front ends it is good for.
    """

    id: CredentialId
    hashed: str = field(repr=False)
    scram: str | None = field(default=None, repr=False)
    scopes: frozenset[Scope] = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Account:
    """
    One account as the directory remembers it; a few seconds old at most.

    Args:
        id: Names the row.
        address: Where it gets mail and what its user logs in as.
        display_name: The user's name for people; may be empty.
        role: User or administrator.
        enabled: False: no login, and mail for it is refused; also when its domain is disabled.
        scopes: The front ends its user may log in to.
        inbox: The folder that deliveries go to.
        quota_octets: Most octets in all folders together; None: no limit.
        quota_messages: Most messages in all folders together; None: no limit.
        verifiers: All its credentials.
        keep_days: Days that a message stays in the inbox at least, and is removed after;
            None: for ever.
    """

    id: AccountId
    address: Address
    display_name: str
    role: Role
    enabled: bool
    scopes: frozenset[Scope]
    inbox: FolderId
    quota_octets: int | None
    quota_messages: int | None
    verifiers: tuple[Verifier, ...]
    keep_days: int | None = None

    def verifiers_for(self, scope: Scope) -> tuple[Verifier, ...]:
        """Give the credentials that are good for one front end."""
        return tuple(one for one in self.verifiers if scope in one.scopes)


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """
    One line of the administrator's list of accounts.

    Args:
        messages: In all folders together.
        octets: In all folders together.
        quota_octets: The one in force; None: no limit.
        quota_messages: The one in force; None: no limit.
        last_login: UTC; None: never.
        keep_days: As in ``Account``.
        quota_octets_from: Whose it is.
        quota_messages_from: Whose it is.
        language: Of notices; empty: English.
        pending: It registered itself and waits for an administrator.
        turns: The switches that will turn by themselves.
        daily_messages: To other servers; None: as the settings say, 0: no limit.
        daily_recipients: New ones on other servers; likewise.
    """

    id: AccountId
    address: Address
    display_name: str
    role: Role
    enabled: bool
    scopes: frozenset[Scope]
    messages: int
    octets: int
    quota_octets: int | None
    quota_messages: int | None
    created: datetime
    last_login: datetime | None
    keep_days: int | None = None
    quota_octets_from: QuotaSource = QuotaSource.NOBODY
    quota_messages_from: QuotaSource = QuotaSource.NOBODY
    language: str = ""
    pending: bool = False
    turns: tuple[Turn, ...] = ()
    daily_messages: int | None = None
    daily_recipients: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFilter:
    """
    Which accounts a list shall have; all conditions must hold.

    Args:
        domain: Of this domain only; empty: of all.
        text: Found in the address or the display name; empty: any.
        role: Of this role; None: of any.
        enabled: So; None: either way.
        pending: So; None: either way.
    """

    domain: str = ""
    text: str = ""
    role: Role | None = None
    enabled: bool | None = None
    pending: bool | None = None


EVERYBODY = AccountFilter()
