"""Commands about the daemon and its services."""

from twisted.protocols.amp import Unicode

from mailsvc.control.boxes import Rows, Span, fields_of
from mailsvc.control.commands.base import ControlCommand
from mailsvc.model.listener import ListenerState
from mailsvc.model.service import ServiceStatus


class Status(ControlCommand):
    """``ServiceStatus``."""

    response = fields_of(ServiceStatus)


class ServiceStart(ControlCommand):
    """``smtp``, ``pop3`` or a listener, and for how long; its listeners out."""

    arguments = [(b"service", Unicode()), (b"span", Span(optional=True))]
    response = [(b"listeners", Rows(ListenerState, optional=True))]


class ServiceStop(ControlCommand):
    """As ``ServiceStart``."""

    arguments = ServiceStart.arguments
    response = ServiceStart.response
