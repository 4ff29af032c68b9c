"""The client's commands about domains."""

from typing import Any

from twisted.protocols.amp import Command

from mailsvc.control.boxes import box_of, build
from mailsvc.control.client.connection import ControlConnection
from mailsvc.control.commands.domains import (
    DomainAdd,
    DomainList,
    DomainRemove,
    DomainSet,
    DomainShow,
    DomainSwitch,
)
from mailsvc.model.domain import DomainChange, DomainSummary, Saved
from mailsvc.model.page import LARGEST_PAGE, Page


class DomainsClient:
    """
    Domains; errors as in ``ControlClient``.

    Args:
        line: To the daemon.
    """

    def __init__(self, line: ControlConnection) -> None:
        self._line = line

    async def add(self, name: str) -> DomainSummary:
        """Make a domain ours."""
        return await self._ask(DomainAdd, name=name)

    async def list(self, after: str = "", most: int = LARGEST_PAGE) -> Page[DomainSummary]:
        """List domains, a page at a time; as ``UsersClient.list``."""
        return await self._line.page(DomainList, after, most)

    async def show(self, name: str) -> DomainSummary:
        """Look one up."""
        return await self._ask(DomainShow, name=name)

    async def switch(self, name: str, *, enabled: bool) -> DomainSummary:
        """Enable or disable one."""
        return await self._ask(DomainSwitch, name=name, enabled=enabled)

    async def set(self, change: DomainChange) -> DomainSummary:
        """Change quotas and catch-all."""
        return await self._ask(DomainSet, **box_of(change))

    async def remove(self, name: str, saved: Saved | None = None) -> str:
        """Remove one; with all that was saved of it."""
        found = await self._line.ask(DomainRemove, name=name, **box_of(saved))
        gone: str = found["name"]
        return gone

    async def _ask(self, command: type[Command], **arguments: Any) -> DomainSummary:
        return build(DomainSummary, await self._line.ask(command, **arguments))
