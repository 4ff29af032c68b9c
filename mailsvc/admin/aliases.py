"""Aliases, groups and forwards."""

from collections.abc import Sequence

from mailsvc.admin.office import Office
from mailsvc.admin.rules import checked_page
from mailsvc.errors import CommandError
from mailsvc.model.address import Address
from mailsvc.model.alias import AliasKind, AliasSummary, NewAlias
from mailsvc.model.page import Page, page_of
from mailsvc.store.aliases import (
    add_alias,
    add_members,
    get_alias,
    list_aliases,
    remove_alias,
    remove_members,
    set_forward,
    switch_alias,
)
from mailsvc.store.trail import Record


class Aliases:
    """
    Makes, lists, changes and removes addresses that lead elsewhere; errors as in
    ``Administration``.

    Args:
        office: Where changes are made.
    """

    def __init__(self, office: Office) -> None:
        self._office = office

    async def set(self, new: NewAlias, *, by: str) -> AliasSummary:
        """
        Make an alias or a group, or say anew where the mail of an account goes.

        Raises:
            AlreadyThere: The address is taken.
            NotFound: Its domain is not ours, or nobody has it or a target.
        """
        kind, office = new.kind, self._office
        address, targets = await office.address(new.address), await self._read(new.targets)
        if kind is AliasKind.ALIAS and len(targets) != 1:
            raise CommandError("an alias leads to one address; what leads to several is a group")
        text, subaddress = ", ".join(map(str, targets)), office.directory.subaddress
        did = f"{kind} {'set' if kind is AliasKind.FORWARD else 'add'}"
        record = Record(by, did, {"address": str(address), "targets": text})
        if kind is AliasKind.FORWARD:
            return await office.change(
                record, set_forward, office.ids, address, targets, subaddress
            )
        return await office.change(
            record, add_alias, office.ids, kind, address, targets, subaddress
        )

    async def add_members(self, address: str, members: Sequence[str], *, by: str) -> AliasSummary:
        """
        Add members to a group.

        Raises:
            AlreadyThere: One is a member.
            NotFound: There is no such group, or nobody has one of the addresses.
        """
        group, added = await self._office.address(address), await self._read(members)
        record = _record(by, "group member add", group, added)
        subaddress = self._office.directory.subaddress
        return await self._office.change(record, add_members, group, added, subaddress)

    async def remove_members(
        self, address: str, members: Sequence[str], *, by: str
    ) -> AliasSummary:
        """
        Take members out of a group.

        Raises:
            NotFound: There is no such group, or one is no member.
        """
        group, removed = await self._office.address(address), await self._read(members)
        record = _record(by, "group member remove", group, removed)
        return await self._office.change(record, remove_members, group, removed)

    async def switch(
        self, kind: AliasKind, address: str, *, enabled: bool, by: str
    ) -> AliasSummary:
        """
        Enable or disable one.

        Raises:
            NotFound: There is none of this kind.
        """
        which = await self._office.address(address)
        did = f"{kind} {'enable' if enabled else 'disable'}"
        record = Record(by, did, {"address": str(which)})
        return await self._office.change(record, switch_alias, kind, which, enabled=enabled)

    async def remove(self, kind: AliasKind, address: str, *, by: str) -> Address:
        """
        Remove one.

        Raises:
            NotFound: There is none of this kind.
            CommandError: Others lead to it.
        """
        which = await self._office.address(address)
        record = Record(by, f"{kind} remove", {"address": str(which)})
        await self._office.change(record, remove_alias, kind, which)
        return which

    async def list(self, kind: AliasKind, after: str, most: int) -> Page[AliasSummary]:
        """
        List those of one kind, a page at a time.

        Args:
            after: What the page before this one gave as ``next``; empty: from the start.
            most: The size of the page, up to ``LARGEST_PAGE``.
        """
        most = checked_page(most)
        found = await self._office.database.run(list_aliases, kind, after, most + 1)
        return page_of(found, most, lambda one: one.address.key)

    async def show(self, kind: AliasKind, address: str) -> AliasSummary:
        """
        Look one up.

        Raises:
            NotFound: There is none of this kind.
        """
        which = await self._office.address(address)
        return await self._office.database.run(get_alias, kind, which)

    async def _read(self, texts: Sequence[str]) -> Sequence[Address]:
        return [await self._office.address(text) for text in texts]


def _record(by: str, did: str, group: Address, members: Sequence[Address]) -> Record:
    return Record(by, did, {"address": str(group), "members": ", ".join(map(str, members))})
