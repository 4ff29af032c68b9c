"""The client's commands about broadcasts."""

from collections.abc import AsyncIterator

from mailsvc.control.boxes import box_of, build
from mailsvc.control.client.connection import ControlConnection
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
from mailsvc.model.page import LARGEST_PAGE, Page

PIECE = 60_000
"""Octets of a message in one command: a value of AMP holds 65,535."""


class BroadcastsClient:
    """
    Messages to many; errors as in ``ControlClient``.

    Args:
        line: To the daemon.
    """

    def __init__(self, line: ControlConnection) -> None:
        self._line = line

    async def preview(self, new: NewBroadcast) -> BroadcastPreview:
        """Tell what a broadcast would be; nothing is sent."""
        return build(BroadcastPreview, await self._line.ask(BroadcastLook, **box_of(new)))

    async def send(self, new: NewBroadcast, message: bytes) -> BroadcastState:
        """Send a message; returns when the daemon has stored it, and goes on from there."""
        draft: int = (await self._line.ask(BroadcastDraft))["draft"]
        for start in range(0, len(message), PIECE):
            piece = message[start : start + PIECE]
            await self._line.ask(BroadcastPiece, draft=draft, piece=piece)
        found = await self._line.ask(BroadcastSend, draft=draft, **box_of(new))
        return build(BroadcastState, found)

    async def list(self, after: str = "", most: int = LARGEST_PAGE) -> Page[BroadcastState]:
        """List broadcasts, the latest first, a page at a time."""
        return await self._line.page(BroadcastList, after, most)

    async def show(self, number: int) -> BroadcastState:
        """Tell how far one is."""
        return build(BroadcastState, await self._line.ask(BroadcastShow, number=number))

    async def follow(self, number: int, every: float = 0.25) -> AsyncIterator[BroadcastState]:
        """Tell how far one is, again and again, until it has ended."""
        while True:
            state = await self.show(number)
            yield state
            if state.ended is not None:
                return
            await self._line.pause(every)

    async def stop(self, number: int) -> BroadcastState:
        """End one where it is; who has it keeps it."""
        return build(BroadcastState, await self._line.ask(BroadcastStop, number=number))
