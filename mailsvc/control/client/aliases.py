"""The client's commands about aliases, groups and forwards."""

from collections.abc import Sequence
from typing import Any

from twisted.protocols.amp import Command

from mailsvc.control.boxes import box_of, build
from mailsvc.control.client.connection import ControlConnection
from mailsvc.control.commands.aliases import (
    AliasList,
    AliasRemove,
    AliasSet,
    AliasShow,
    AliasSwitch,
    GroupMemberAdd,
    GroupMemberRemove,
)
from mailsvc.model.address import Address
from mailsvc.model.alias import AliasKind, AliasSummary, NewAlias
from mailsvc.model.page import LARGEST_PAGE, Page


class AliasesClient:
    """
    Addresses that lead elsewhere; errors as in ``ControlClient``.

    Args:
        line: To the daemon.
    """

    def __init__(self, line: ControlConnection) -> None:
        self._line = line

    async def set(self, new: NewAlias) -> AliasSummary:
        """Make an alias or a group, or say anew where the mail of an account goes."""
        return await self._ask(AliasSet, **box_of(new))

    async def list(
        self, kind: AliasKind, after: str = "", most: int = LARGEST_PAGE
    ) -> Page[AliasSummary]:
        """List those of one kind, a page at a time; as ``UsersClient.list``."""
        return await self._line.page(AliasList, after, most, kind=kind)

    async def show(self, kind: AliasKind, address: str) -> AliasSummary:
        """Look one up."""
        return await self._ask(AliasShow, kind=kind, address=address)

    async def switch(self, kind: AliasKind, address: str, *, enabled: bool) -> AliasSummary:
        """Enable or disable one."""
        return await self._ask(AliasSwitch, kind=kind, address=address, enabled=enabled)

    async def remove(self, kind: AliasKind, address: str) -> Address:
        """Remove one."""
        found = await self._line.ask(AliasRemove, kind=kind, address=address)
        gone: Address = found["address"]
        return gone

    async def add_members(self, address: str, members: Sequence[str]) -> AliasSummary:
        """Add members to a group."""
        return await self._ask(GroupMemberAdd, address=address, members=list(members))

    async def remove_members(self, address: str, members: Sequence[str]) -> AliasSummary:
        """Take members out of a group."""
        return await self._ask(GroupMemberRemove, address=address, members=list(members))

    async def _ask(self, command: type[Command], **arguments: Any) -> AliasSummary:
        return build(AliasSummary, await self._line.ask(command, **arguments))
