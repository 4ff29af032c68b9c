"""The client's commands about the trail."""

from mailsvc.control.boxes import box_of
from mailsvc.control.client.connection import ControlConnection
from mailsvc.control.commands.trail import TrailSearch, TrailTrace
from mailsvc.model.page import LARGEST_PAGE, Page
from mailsvc.model.story import WHOLE_STORY, StoryFilter, StoryRow


class TrailClient:
    """
    What happened; errors as in ``ControlClient``.

    Args:
        line: To the daemon.
    """

    def __init__(self, line: ControlConnection) -> None:
        self._line = line

    async def search(
        self, after: str = "", most: int = LARGEST_PAGE, only: StoryFilter = WHOLE_STORY
    ) -> Page[StoryRow]:
        """List rows, the latest first, a page at a time."""
        return await self._line.page(TrailSearch, after, most, **box_of(only))

    async def trace(
        self, message: str, after: str = "", most: int = LARGEST_PAGE
    ) -> Page[StoryRow]:
        """Tell the story of a message, by its number or Message-ID, a page at a time."""
        return await self._line.page(TrailTrace, after, most, message=message)
