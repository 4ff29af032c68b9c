"""The domains that are ours."""

from mailsvc.admin.office import Office
from mailsvc.admin.rules import checked_page, checked_quota, parsed_domain
from mailsvc.errors import CommandError
from mailsvc.model.domain import NO_CATCH_ALL, DomainChange, DomainSummary, Saved
from mailsvc.model.page import Page, page_of
from mailsvc.store.domain_changes import (
    get_domain,
    list_domains,
    make_domain,
    remove_domain,
    set_domain,
    switch_domain,
)
from mailsvc.store.trail import Record

NO_QUOTA = 0


class Domains:
    """
    Makes, lists, changes and removes domains; errors as in ``Administration``.

    Args:
        office: Where changes are made.
    """

    def __init__(self, office: Office) -> None:
        self._office = office

    async def add(self, name: str, *, by: str) -> DomainSummary:
        """
        Make a domain ours.

        Raises:
            AlreadyThere: It is.
        """
        domain = parsed_domain(name)
        record = Record(by, "domain add", {"domain": domain})
        return await self._office.change(record, make_domain, self._office.ids, domain)

    async def list(self, after: str, most: int) -> Page[DomainSummary]:
        """
        List domains, a page at a time.

        Args:
            after: What the page before this one gave as ``next``; empty: from the start.
            most: The size of the page, up to ``LARGEST_PAGE``.
        """
        most = checked_page(most)
        found = await self._office.database.run(list_domains, after, most + 1)
        return page_of(found, most, lambda one: one.name)

    async def show(self, name: str) -> DomainSummary:
        """
        Look one up.

        Raises:
            NotFound: It is not ours.
        """
        return await self._office.database.run(get_domain, parsed_domain(name))

    async def switch(self, name: str, *, enabled: bool, by: str) -> DomainSummary:
        """
        Enable or disable a domain: its mail, and the logins of its users.

        Raises:
            NotFound: It is not ours.
            CommandError: It is the last one, or has the last administrator.
        """
        domain = parsed_domain(name)
        did = f"domain {'enable' if enabled else 'disable'}"
        record = Record(by, did, {"domain": domain})
        return await self._office.change(record, switch_domain, domain, enabled=enabled)

    async def set(self, change: DomainChange, *, by: str) -> DomainSummary:
        """
        Change quotas and catch-all of a domain.

        Raises:
            NotFound: It is not ours, or nobody has the address of the catch-all.
            CommandError: Nothing would change, or a value is not possible.
        """
        domain, values = parsed_domain(change.name), _columns(change)
        catch_all = await self._office.address(change.catch_all) if change.catch_all else None
        told = {**values, **({} if catch_all is None else {"catch_all": str(catch_all)})}
        if not told:
            raise CommandError("say what is to be changed, such as --quota 1GiB")
        record = Record(by, "domain set", {"domain": domain, **told})
        subaddress = self._office.directory.subaddress
        return await self._office.change(record, set_domain, domain, values, catch_all, subaddress)

    async def remove(self, name: str, saved: Saved | None, *, by: str) -> str:
        """
        Remove a domain.

        Args:
            saved: What somebody has saved of it: all that goes with it. It must be disabled
                since. None: nothing is saved, and it is refused when there is anything.

        Raises:
            NotFound: It is not ours.
            CommandError: It is not empty, not as it was saved, or needed.
        """
        domain = parsed_domain(name)
        seen = None if saved is None else (saved.accounts, saved.aliases, saved.messages)
        counts = {} if saved is None else {"accounts": saved.accounts, "messages": saved.messages}
        record = Record(by, "domain remove", {"domain": domain, **counts})
        await self._office.change(record, remove_domain, domain, seen=seen)
        return domain


def _columns(change: DomainChange) -> dict[str, int | None]:
    """Give the columns that get a plain value."""
    quotas = {"quota_octets": change.quota_octets, "quota_messages": change.quota_messages}
    values = {
        name: checked_quota(value or None, name.partition("_")[2])
        for name, value in quotas.items()
        if value is not None
    }
    return values | ({"catch_all": None} if change.catch_all == NO_CATCH_ALL else {})
