"""The services: started and stopped as a whole."""

from twisted.internet.defer import DeferredLock

from mailsvc.admin.office import Office
from mailsvc.admin.rules import checked_service
from mailsvc.errors import CommandError, MailError, NotFound
from mailsvc.interfaces import ISwitchboard
from mailsvc.store.settings import write_setting
from mailsvc.store.trail import Record


class Services:
    """
    Starts and stops services; errors as in ``Administration``.

    Args:
        office: Where changes are made.
        switchboard: Opens and closes the listeners.
    """

    def __init__(self, office: Office, switchboard: ISwitchboard) -> None:
        self._office = office
        self._switchboard = switchboard
        self._switching = DeferredLock()

    async def switch(self, service: str, *, running: bool, by: str) -> None:
        """
        Start or stop ``smtp`` or ``pop3``, for now and for the next start of the daemon.

        Raises:
            NotFound: There is no such service, or config.yaml has no listener for it.
            CommandError: A port cannot be opened.
        """
        service = checked_service(service)
        if not any(one.service == service for one in self._switchboard.listeners()):
            raise NotFound(
                f"config.yaml has no listener for {service}; add one and start the daemon again"
            )
        async with self._switching:
            await (self._start(service, by) if running else self._stop(service, by))

    async def _start(self, service: str, by: str) -> None:
        """Open first: what cannot be opened is not remembered as running."""
        ran = any(one.running for one in self._switchboard.listeners() if one.service == service)
        try:
            await self._switchboard.start(service)
            await self._remember(service, by, running=True)
        except (CommandError, MailError):
            if not ran:
                await self._switchboard.stop(service)
            raise

    async def _stop(self, service: str, by: str) -> None:
        """Remember first: only that can fail."""
        await self._remember(service, by, running=False)
        await self._switchboard.stop(service)

    async def _remember(self, service: str, by: str, *, running: bool) -> None:
        """The daemon reads it when it starts."""
        record = Record(by, f"service {'start' if running else 'stop'}", {"service": service})
        name = f"service.{service}.running"
        await self._office.change(record, write_setting, name, running, by)
