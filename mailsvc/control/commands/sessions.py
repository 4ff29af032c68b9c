"""Commands about open sessions."""

from twisted.protocols.amp import Integer

from mailsvc.control.boxes import fields_of
from mailsvc.control.commands.base import ControlCommand, Next, page_of
from mailsvc.model.session import SessionFilter, SessionState


class SessionList(Next):
    """A ``SessionFilter`` in, a page of ``SessionState`` out."""

    arguments = [*Next.arguments, *fields_of(SessionFilter)]
    response = page_of(SessionState)


class SessionEnd(ControlCommand):
    """A ``SessionFilter`` in, how many were ended out."""

    arguments = fields_of(SessionFilter)
    response = [(b"ended", Integer())]
