"""The client's commands about keys that sign mail."""

from mailsvc.control.boxes import box_of, build
from mailsvc.control.client.connection import ControlConnection
from mailsvc.control.commands.dkim import DkimAdd, DkimList, DkimRemove, DkimSwitch, DnsRecords
from mailsvc.model.dkim import DkimKey, DnsRecord, NewDkimKey


class DkimClient:
    """
    Keys, and the DNS of our domains; errors as in ``ControlClient``.

    Args:
        line: To the daemon.
    """

    def __init__(self, line: ControlConnection) -> None:
        self._line = line

    async def add(self, new: NewDkimKey) -> DkimKey:
        """Make a key."""
        return build(DkimKey, await self._line.ask(DkimAdd, **box_of(new)))

    async def list(self, domain: str = "") -> tuple[DkimKey, ...]:
        """List the keys of one domain, or of all."""
        found: tuple[DkimKey, ...] = (await self._line.ask(DkimList, domain=domain))["keys"]
        return found

    async def switch(self, domain: str, selector: str, *, active: bool) -> None:
        """Let a key sign, or not."""
        await self._line.ask(DkimSwitch, domain=domain, selector=selector, active=active)

    async def remove(self, domain: str, selector: str) -> None:
        """Remove a key."""
        await self._line.ask(DkimRemove, domain=domain, selector=selector)

    async def records(self, domain: str) -> tuple[DnsRecord, ...]:
        """Tell what a domain publishes in DNS."""
        found: tuple[DnsRecord, ...] = (await self._line.ask(DnsRecords, domain=domain))["records"]
        return found
