"""Answers about broadcasts."""

from mailsvc.control.answers.base import Answers, Asked
from mailsvc.control.boxes import build
from mailsvc.control.commands.broadcasts import (
    BroadcastDraft,
    BroadcastList,
    BroadcastLook,
    BroadcastPiece,
    BroadcastSend,
    BroadcastShow,
    BroadcastStop,
)
from mailsvc.model.broadcast import BroadcastPreview, BroadcastState, NewBroadcast
from mailsvc.model.page import Page


async def draft(asked: Asked) -> dict[str, object]:
    """Begin a message."""
    return {"draft": await asked.administration.broadcasts.draft()}


async def piece(asked: Asked) -> dict[str, object]:
    """Add to a message."""
    broadcasts = asked.administration.broadcasts
    return {"octets": await broadcasts.add(asked["draft"], asked["piece"])}


async def look(asked: Asked) -> BroadcastPreview:
    """Tell what a broadcast would be."""
    return await asked.administration.broadcasts.preview(build(NewBroadcast, asked.values))


async def send(asked: Asked) -> BroadcastState:
    """Send a draft."""
    broadcasts, new = asked.administration.broadcasts, build(NewBroadcast, asked.values)
    return await broadcasts.send(new, asked["draft"], by=asked.by)


async def list_(asked: Asked) -> Page[BroadcastState]:
    """List broadcasts, as many as fit."""
    return await asked.administration.broadcasts.list(*asked.page)


async def show(asked: Asked) -> BroadcastState:
    """Tell how far one is."""
    return await asked.administration.broadcasts.show(asked["number"])


async def stop(asked: Asked) -> BroadcastState:
    """End one where it is."""
    return await asked.administration.broadcasts.stop(asked["number"], by=asked.by)


ANSWERS: Answers = {
    BroadcastDraft: draft,
    BroadcastList: list_,
    BroadcastLook: look,
    BroadcastPiece: piece,
    BroadcastSend: send,
    BroadcastShow: show,
    BroadcastStop: stop,
}
