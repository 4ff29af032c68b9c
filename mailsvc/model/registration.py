"""People who make their own accounts, and the invitations that let them."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mailsvc.model.address import Address


@dataclass(frozen=True, slots=True)
class RegistrationRules:
    """
    What somebody who wants to register must know.

    Args:
        mode: ``closed``, ``invitation``, ``approval`` or ``open``.
        domains: Where accounts can be made; the first one is meant when none is named.
        shortest_password: Characters.
    """

    mode: str
    domains: tuple[str, ...]
    shortest_password: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Registrant:
    """
    Who wants an account.

    Args:
        address: As typed; without ``@`` it belongs to the first domain for it.
        password: The one that he wants.
        display_name: His name for people.
        language: Of notices, such as ``zh``; empty: English.
        code: Of an invitation; empty: he has none.
    """

    address: str
    password: bytes = field(repr=False)
    display_name: str = ""
    language: str = ""
    code: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Registered:
    """
    An account that somebody has made for himself.

    Args:
        address: The user name.
        pending: It waits for an administrator.
    """

    address: Address
    pending: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInvitation:
    """
    An invitation as an administrator asks for it.

    Args:
        uses: How many accounts can be made with it.
        span: How long it is good; None: until it is used up.
        note: For the administrator.
        domain: Where accounts are made; empty: as the settings say.
    """

    uses: int = 1
    span: timedelta | None = None
    note: str = ""
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Invitation:
    """
    An invitation as it is listed.

    Args:
        hint: How its code begins; the rest is not kept.
        domain: Where accounts are made; empty: as the settings say.
        created: UTC.
        expires: UTC; None: never.
    """

    number: int
    hint: str
    uses_left: int
    note: str
    domain: str
    created: datetime
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class MadeInvitation:
    """
    An invitation that was just made.

    Args:
        code: Nowhere else to be seen.
        expires: UTC; None: never.
    """

    number: int
    code: str = field(repr=False)
    uses: int
    expires: datetime | None
