"""Answers about the daemon and its services."""

from mailsvc.admin.health import ServiceStatus
from mailsvc.control.answers.base import Answers, Asked
from mailsvc.control.commands.services import ServiceStart, ServiceStop, Status


async def status(asked: Asked) -> ServiceStatus:
    """Tell how the daemon is."""
    return await asked.administration.health.status()


async def start(asked: Asked) -> None:
    """Open the listeners of a service."""
    await asked.administration.services.switch(asked["service"], running=True, by=asked.by)


async def stop(asked: Asked) -> None:
    """Close the listeners of a service."""
    await asked.administration.services.switch(asked["service"], running=False, by=asked.by)


ANSWERS: Answers = {Status: status, ServiceStart: start, ServiceStop: stop}
