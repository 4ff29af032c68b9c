"""Log files: read and cleared."""

from mailsvc.admin.office import Office
from mailsvc.errors import CommandError, NotFound
from mailsvc.interfaces import ILogBook
from mailsvc.model.log import LOGS, WHOLE_LOG, LogFilter, LogPart
from mailsvc.store.trail import Record

_LEVELS = ("debug", "info", "warn", "error")


class Logs:
    """
    Reads and clears log files; errors as in ``Administration``.

    Args:
        office: Where it is noted.
        book: Has the files.
    """

    def __init__(self, office: Office, book: ILogBook) -> None:
        self._office = office
        self._book = book

    async def read(self, name: str, after: str, only: LogFilter = WHOLE_LOG) -> LogPart:
        """
        Read a part of a log.

        Args:
            after: What the part before this one gave as ``next``; empty: from the oldest line.

        Raises:
            NotFound: There is no such log.
            CommandError: The filter makes no sense, or the files cannot be read.
        """
        if only.level and only.level not in _LEVELS:
            raise CommandError(f"there is no level {only.level!r}: {', '.join(_LEVELS)}")
        return await self._book.read(_checked(name), after, only)

    async def clear(self, name: str, *, by: str) -> None:
        """
        Remove all lines of a log; that it was done stands in the trail and in ``control``.

        Raises:
            NotFound: There is no such log.
            CommandError: The files cannot be removed.
        """
        await self._office.note(Record(by, "log clear", {"log": _checked(name)}))
        self._book.clear(name)


def _checked(name: str) -> str:
    if name not in LOGS:
        raise NotFound(f"there is no log {name!r}: {', '.join(LOGS)}")
    return name
