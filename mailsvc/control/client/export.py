"""The client's commands for whoever saves mail."""

from mailsvc.control.client.connection import ControlConnection
from mailsvc.control.commands.export import MailList, MailPiece
from mailsvc.model.export import StoredMail
from mailsvc.model.ids import MessageId
from mailsvc.model.page import LARGEST_PAGE, Page


class ExportClient:
    """
    Mail as it is stored; errors as in ``ControlClient``.

    Args:
        line: To the daemon.
    """

    def __init__(self, line: ControlConnection) -> None:
        self._line = line

    async def list(
        self, address: str, after: str = "", most: int = LARGEST_PAGE
    ) -> Page[StoredMail]:
        """List the messages of an account, a page at a time; as ``UsersClient.list``."""
        return await self._line.page(MailList, after, most, address=address)

    async def read(self, message: MessageId) -> bytes:
        """Read a whole message; empty: it is gone."""
        pieces: list[bytes] = []
        part = offset = 0
        while True:
            found = await self._line.ask(MailPiece, message=message, part=part, offset=offset)
            octets: bytes | None = found["octets"]
            if octets is None:
                return b"".join(pieces)
            pieces.append(octets)
            part, offset = (part, offset + len(octets)) if octets else (part + 1, 0)
