"""The client's commands about the daemon and its services."""

from mailsvc.admin.health import ServiceStatus
from mailsvc.control.boxes import build
from mailsvc.control.client.connection import ControlConnection
from mailsvc.control.commands.services import ServiceStart, ServiceStop, Status


class ServicesClient:
    """
    The daemon and its services; errors as in ``ControlClient``.

    Args:
        line: To the daemon.
    """

    def __init__(self, line: ControlConnection) -> None:
        self._line = line

    async def status(self) -> ServiceStatus:
        """Tell how the daemon is."""
        return build(ServiceStatus, await self._line.ask(Status))

    async def start(self, service: str) -> None:
        """Start ``smtp`` or ``pop3``, for now and for the next start of the daemon."""
        await self._line.ask(ServiceStart, service=service)

    async def stop(self, service: str) -> None:
        """Stop ``smtp`` or ``pop3``, for now and for the next start of the daemon."""
        await self._line.ask(ServiceStop, service=service)
