"""Commands about log files."""

from twisted.protocols.amp import Unicode

from mailsvc.control.boxes import fields_of
from mailsvc.control.commands.base import ControlCommand
from mailsvc.model.log import LogFilter, LogPart


class LogRead(ControlCommand):
    """A ``LogFilter`` in, a ``LogPart`` out."""

    arguments = [(b"name", Unicode()), (b"after", Unicode()), *fields_of(LogFilter)]
    response = fields_of(LogPart)


class LogClear(ControlCommand):
    """The name of the log in."""

    arguments = [(b"name", Unicode())]
