"""The client's commands about log files."""

from collections.abc import AsyncIterator

from mailsvc.control.boxes import box_of, build
from mailsvc.control.client.connection import ControlConnection
from mailsvc.control.commands.logs import LogClear, LogRead
from mailsvc.model.log import WHOLE_LOG, LogFilter, LogPart


class LogsClient:
    """
    Log files; errors as in ``ControlClient``.

    Args:
        line: To the daemon.
    """

    def __init__(self, line: ControlConnection) -> None:
        self._line = line

    async def read(self, name: str, after: str = "", only: LogFilter = WHOLE_LOG) -> LogPart:
        """Read a part of a log; empty *after*: from the oldest line."""
        return build(LogPart, await self._line.ask(LogRead, name=name, after=after, **box_of(only)))

    async def lines(self, name: str, only: LogFilter = WHOLE_LOG) -> AsyncIterator[str]:
        """Give all lines that there are, the oldest first."""
        part = await self.read(name, "", only)
        while True:
            for line in part.lines:
                yield line
            if part.end:
                return
            part = await self.read(name, part.next, only)

    async def follow(
        self, name: str, only: LogFilter = WHOLE_LOG, every: float = 0.5
    ) -> AsyncIterator[str]:
        """Give the lines that are written from now on, for ever."""
        place = await self._end(name)
        while True:
            part = await self.read(name, place, only)
            place = part.next
            for line in part.lines:
                yield line
            if part.end:
                await self._line.pause(every)

    async def _end(self, name: str) -> str:
        """Tell where the next line will be."""
        nothing = LogFilter(words=("\0",))  # a line has no NUL
        part = await self.read(name, "", nothing)
        while not part.end:
            part = await self.read(name, part.next, nothing)
        return part.next

    async def clear(self, name: str) -> None:
        """Remove all lines of a log."""
        await self._line.ask(LogClear, name=name)
