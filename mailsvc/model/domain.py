"""A domain of ours as administrators see it."""

from dataclasses import dataclass
from datetime import datetime

from mailsvc.model.address import Address, shown_domain


@dataclass(frozen=True, slots=True)
class DomainSummary:
    """
    One domain.

    Args:
        name: Lower case, A-labels.
        enabled: False: its mail is refused and its users cannot log in.
        accounts: How many.
        administrators: How many of them.
        aliases: Aliases and groups.
        messages: In all folders of all accounts.
        octets: In all folders of all accounts.
        quota_octets: Of each account that has none of its own; None: no limit.
        quota_messages: Of each account that has none of its own; None: no limit.
        catch_all: Gets the mail for addresses that nobody has; None: it is refused.
    """

    name: str
    enabled: bool
    accounts: int
    administrators: int
    aliases: int
    messages: int
    octets: int
    quota_octets: int | None
    quota_messages: int | None
    catch_all: Address | None
    created: datetime

    @property
    def shown(self) -> str:
        """The name in its own script."""
        return shown_domain(self.name)


NO_CATCH_ALL = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainChange:
    """
    What becomes different at a domain; None: it stays as it is.

    Args:
        quota_octets: Of each account that has none of its own; 0: no limit.
        quota_messages: Of each account that has none of its own; 0: no limit.
        catch_all: Gets the mail for addresses that nobody has; empty: nobody does.
    """

    name: str
    quota_octets: int | None = None
    quota_messages: int | None = None
    catch_all: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """
    What was saved of a domain before it is removed.

    Args:
        accounts: How many.
        aliases: Aliases and groups.
        messages: Of all accounts.
    """

    accounts: int
    aliases: int
    messages: int
