"""Answers about the daemon and its services."""

from mailsvc.control.answers.base import Answers, Asked
from mailsvc.control.commands.services import ServiceStart, ServiceStop, Status
from mailsvc.model.service import ServiceStatus


async def status(asked: Asked) -> ServiceStatus:
    """Tell how the daemon is."""
    return await asked.administration.health.status()


async def start(asked: Asked) -> dict[str, object]:
    """Open listeners."""
    return await _switch(asked, running=True)


async def stop(asked: Asked) -> dict[str, object]:
    """Close listeners."""
    return await _switch(asked, running=False)


async def _switch(asked: Asked, *, running: bool) -> dict[str, object]:
    listeners = await asked.administration.services.switch(
        asked["service"], running=running, by=asked.by, span=asked["span"]
    )
    return {"listeners": listeners}


ANSWERS: Answers = {Status: status, ServiceStart: start, ServiceStop: stop}
