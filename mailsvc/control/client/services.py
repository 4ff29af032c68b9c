"""The client's commands about the daemon and its services."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from mailsvc.control.boxes import build
from mailsvc.control.client.connection import ControlConnection
from mailsvc.control.commands.services import ServiceStart, ServiceStop, Status
from mailsvc.model.listener import ListenerState
from mailsvc.model.service import ServiceStatus


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

    async def start(self, service: str, span: timedelta | None = None) -> tuple[ListenerState, ...]:
        """
        Start ``smtp``, ``pop3`` or one listener, also for the next start of the daemon.

        Args:
            service: Which; a listener that is called like a service is ``listeners.pop3``.
            span: How long; None: until it is stopped.

        Returns:
            The listeners that are meant, as they are now.
        """
        return _listeners(await self._line.ask(ServiceStart, service=service, span=span))

    async def stop(self, service: str, span: timedelta | None = None) -> tuple[ListenerState, ...]:
        """Stop ``smtp``, ``pop3`` or one listener, as ``start`` does."""
        return _listeners(await self._line.ask(ServiceStop, service=service, span=span))


def _listeners(answer: Mapping[str, Any]) -> tuple[ListenerState, ...]:
    found: tuple[ListenerState, ...] = answer["listeners"] or ()
    return found
