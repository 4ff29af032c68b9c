"""What the service knows of one user while it talks to a client."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailsvc.model.address import Address
from mailsvc.model.ids import AccountId, CredentialId, FolderId


class Role(StrEnum):
    """What an account may do besides reading and writing mail."""

    USER = "user"
    ADMIN = "admin"


class Scope(StrEnum):
    """A front end that a login can be for; the switches of an account have these names."""

    SMTP = "smtp"
    POP3 = "pop3"
    WEB = "web"


@dataclass(frozen=True, slots=True)
class Verifier:
    """
    One way to prove to be the owner of an account.

    Args:
        id: Names the row; a changed password is a changed ``hashed``.
        hashed: An Argon2id string in the PHC format.
    """

    id: CredentialId
    hashed: str


@dataclass(frozen=True, slots=True)
class Account:
    """
    One account as the directory remembers it; a few seconds old at most.

    Args:
        id: Names the row.
        address: Where it gets mail and what its user logs in as.
        display_name: The user's name for people; may be empty.
        role: User or administrator.
        enabled: False: no login, and mail for it is refused.
        scopes: The front ends its user may log in to.
        inbox: The folder that deliveries go to.
        quota_octets: Most octets in all folders together; None: no limit.
        quota_messages: Most messages in all folders together; None: no limit.
        verifiers: All its credentials.
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


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """
    One line of the administrator's list of accounts.

    Args:
        messages: In all folders together.
        octets: In all folders together.
        last_login: UTC; None: never.
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
