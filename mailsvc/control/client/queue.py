"""The client's commands about mail that waits for other servers."""

from mailsvc.control.boxes import box_of, build
from mailsvc.control.client.connection import ControlConnection
from mailsvc.control.commands.queue import QueueAttempts, QueueChanged, QueueList
from mailsvc.model.page import LARGEST_PAGE, Page
from mailsvc.model.waiting import ALL, Attempt, Pick, QueueAction, QueueChange, Waiting


class QueueClient:
    """
    Mail that waits; errors as in ``ControlClient``.

    Args:
        line: To the daemon.
    """

    def __init__(self, line: ControlConnection) -> None:
        self._line = line

    async def list(
        self, after: str = "", most: int = LARGEST_PAGE, pick: Pick = ALL
    ) -> Page[Waiting]:
        """List recipients that wait, the oldest first, a page at a time."""
        return await self._line.page(QueueList, after, most, **box_of(pick))

    async def attempts(
        self, message: str, after: str = "", most: int = LARGEST_PAGE
    ) -> Page[Attempt]:
        """List the attempts with a message, the oldest first, a page at a time."""
        return await self._line.page(QueueAttempts, after, most, message=message)

    async def change(self, action: QueueAction, pick: Pick) -> QueueChange:
        """Do something with recipients that wait."""
        found = await self._line.ask(QueueChanged, action=action, **box_of(pick))
        return build(QueueChange, found)
