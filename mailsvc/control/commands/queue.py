"""Commands about mail that waits for other servers."""

from twisted.protocols.amp import Unicode

from mailsvc.control.boxes import Word, fields_of
from mailsvc.control.commands.base import ControlCommand, Next, page_of
from mailsvc.model.waiting import Attempt, Pick, QueueAction, QueueChange, Waiting


class QueueList(Next):
    """A ``Pick`` in, a page of ``Waiting`` out, the oldest first."""

    arguments = [*Next.arguments, *fields_of(Pick)]
    response = page_of(Waiting)


class QueueAttempts(Next):
    """The number of a message in, a page of ``Attempt`` out, the oldest first."""

    arguments = [*Next.arguments, (b"message", Unicode())]
    response = page_of(Attempt)


class QueueChanged(ControlCommand):
    """An action and a ``Pick`` in, ``QueueChange`` out."""

    arguments = [(b"action", Word(QueueAction)), *fields_of(Pick)]
    response = fields_of(QueueChange)
