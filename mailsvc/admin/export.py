"""All mail of an account, for whoever saves it."""

import re

from mailsvc.admin.office import Office
from mailsvc.admin.rules import checked_page
from mailsvc.errors import CommandError
from mailsvc.model.export import StoredMail
from mailsvc.model.ids import MessageId
from mailsvc.model.page import Page, page_of
from mailsvc.store.export import list_mail, read_piece

LARGEST_PIECE = 60_000
"""Octets in one answer."""
_CURSOR = re.compile(r"(?:[0-9]{1,19}/[0-9]{1,19})?")


class Export:
    """
    Gives out mail as it is stored; errors as in ``Administration``.

    Args:
        office: Where the database is.
    """

    def __init__(self, office: Office) -> None:
        self._office = office

    async def list(self, address: str, after: str, most: int) -> Page[StoredMail]:
        """
        List the messages of all folders of an account, a page at a time.

        Raises:
            NotFound: There is no such account.
        """
        if not _CURSOR.fullmatch(after):
            raise CommandError(f"{after!r} is no place in a list; begin anew")
        most, whose = checked_page(most), await self._office.address(address)
        found = await self._office.database.run(list_mail, whose, after, most + 1)
        return page_of(found, most, lambda one: one.cursor)

    async def read(self, message: int, part: int, offset: int) -> bytes | None:
        """
        Read some octets of a message; see ``store.export.read_piece``.

        Returns:
            Empty at the end of the part; None: there is no such part.
        """
        if min(message, part, offset) < 0:
            raise CommandError("a message, a part and an offset are no negative numbers")
        run = self._office.database.run
        return await run(read_piece, MessageId(message), part, offset, LARGEST_PIECE)
