"""The trail: searched, and followed for one message."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from mailsvc.admin.office import Office
from mailsvc.admin.rules import checked_page
from mailsvc.errors import CommandError, NotFound
from mailsvc.model.page import Page, page_of
from mailsvc.model.story import WHOLE_STORY, StoryFilter, StoryRow
from mailsvc.store.stories import search_stories, trace_header, trace_number

_NUMBER = re.compile("[0-9a-f]{16}")
_LONGEST_LOOK = timedelta(days=400)
"""How far back a Message-ID is looked for; the trail is seldom kept for longer."""


class Trail:
    """
    Reads what happened; errors as in ``Administration``.

    Args:
        office: Where the database is.
    """

    def __init__(self, office: Office) -> None:
        self._office = office

    async def search(
        self, after: str, most: int, only: StoryFilter = WHOLE_STORY
    ) -> Page[StoryRow]:
        """List rows, the latest first, a page at a time."""
        most, before = checked_page(most), _place(after)
        if only.account:
            only = replace(only, account=(await self._office.address(only.account)).key)
        if only.address:
            only = replace(only, address=str(await self._office.address(only.address)))
        found = await self._office.database.run(search_stories, only, before, most + 1)
        return page_of(found, most, lambda one: str(one.number))

    async def trace(self, message: str, after: str, most: int) -> Page[StoryRow]:
        """
        Tell the whole story of a message, the oldest row first, a page at a time.

        Args:
            message: Its number as in replies and Received, or its Message-ID.

        Raises:
            NotFound: The trail knows no such message.
        """
        text, run, most, start = message.strip(), self._office.database.run, *_page(after, most)
        if _NUMBER.fullmatch(text):
            found = await run(trace_number, int(text, 16))
        else:
            since = datetime.now(UTC) - _LONGEST_LOOK
            found = await run(trace_header, text.encode("utf-8", "replace"), since)
        if not found:
            raise NotFound(
                f"the trail has no message {text}; give the id of its 250 reply or its Message-ID"
            )
        places = {one.number: str(start + place + 1) for place, one in enumerate(found[start:])}
        return page_of(found[start : start + most + 1], most, lambda one: places[one.number])


def _page(after: str, most: int) -> tuple[int, int]:
    """Give the size of a page, and where it starts in a list."""
    return checked_page(most), _place(after) or 0


def _place(after: str) -> int | None:
    if after and not (after.isascii() and after.isdigit()):
        raise CommandError(f"{after!r} is no place in a list; begin anew")
    return int(after) if after else None
