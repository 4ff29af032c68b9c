"""Commands about the daemon and its services."""

from twisted.protocols.amp import Unicode

from mailsvc.admin.health import ServiceStatus
from mailsvc.control.boxes import fields_of
from mailsvc.control.commands.base import ControlCommand


class Status(ControlCommand):
    """``ServiceStatus``."""

    response = fields_of(ServiceStatus)


class ServiceStart(ControlCommand):
    """``smtp`` or ``pop3``."""

    arguments = [(b"service", Unicode())]


class ServiceStop(ControlCommand):
    """``smtp`` or ``pop3``."""

    arguments = [(b"service", Unicode())]
