"""The client's commands about open sessions."""

from mailsvc.control.boxes import box_of
from mailsvc.control.client.connection import ControlConnection
from mailsvc.control.commands.sessions import SessionEnd, SessionList
from mailsvc.model.page import LARGEST_PAGE, Page
from mailsvc.model.session import EVERY_SESSION, SessionFilter, SessionState


class SessionsClient:
    """
    Open sessions; errors as in ``ControlClient``.

    Args:
        line: To the daemon.
    """

    def __init__(self, line: ControlConnection) -> None:
        self._line = line

    async def list(
        self, after: str = "", most: int = LARGEST_PAGE, only: SessionFilter = EVERY_SESSION
    ) -> Page[SessionState]:
        """List sessions, a page at a time; as ``UsersClient.list``."""
        return await self._line.page(SessionList, after, most, **box_of(only))

    async def end(self, only: SessionFilter) -> int:
        """End sessions as soon as what they have under way is answered; tell how many."""
        ended: int = (await self._line.ask(SessionEnd, **box_of(only)))["ended"]
        return ended
