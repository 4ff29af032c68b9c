"""Commands about broadcasts."""

from twisted.protocols.amp import Integer, String

from mailsvc.control.boxes import fields_of
from mailsvc.control.commands.base import ControlCommand, Next, page_of
from mailsvc.model.broadcast import BroadcastPreview, BroadcastState, NewBroadcast


class BroadcastDraft(ControlCommand):
    """Begin a message; its number out."""

    response = [(b"draft", Integer())]


class BroadcastPiece(ControlCommand):
    """Add to a message; its octets so far out."""

    arguments = [(b"draft", Integer()), (b"piece", String())]
    response = [(b"octets", Integer())]


class BroadcastLook(ControlCommand):
    """``NewBroadcast`` in, ``BroadcastPreview`` out."""

    arguments = fields_of(NewBroadcast)
    response = fields_of(BroadcastPreview)


class BroadcastSend(ControlCommand):
    """``NewBroadcast`` and a draft in, ``BroadcastState`` out."""

    arguments = [*fields_of(NewBroadcast), (b"draft", Integer())]
    response = fields_of(BroadcastState)


class BroadcastList(Next):
    """A page of ``BroadcastState``, the latest first."""

    response = page_of(BroadcastState)


class BroadcastShow(ControlCommand):
    """``BroadcastState`` out."""

    arguments = [(b"number", Integer())]
    response = fields_of(BroadcastState)


class BroadcastStop(ControlCommand):
    """``BroadcastState`` out."""

    arguments = [(b"number", Integer())]
    response = fields_of(BroadcastState)
