"""Open sessions: looked at and ended."""

from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address, ip_network

from mailsvc.admin.office import Office
from mailsvc.admin.rules import checked_page
from mailsvc.errors import CommandError, NotFound
from mailsvc.interfaces import ISwitchboard
from mailsvc.model.page import Page, page_of
from mailsvc.model.session import EVERY_SESSION, Ending, SessionFilter, SessionState
from mailsvc.store.trail import Record

Holds = Callable[[SessionState], bool]
Found = Sequence[SessionState]


class Sessions:
    """
    Lists and ends the sessions of this daemon; errors as in ``Administration``.

    Args:
        office: Where it is noted.
        switchboard: Knows the sessions.
    """

    def __init__(self, office: Office, switchboard: ISwitchboard) -> None:
        self._office = office
        self._switchboard = switchboard

    async def list(
        self, after: str, most: int, only: SessionFilter = EVERY_SESSION
    ) -> Page[SessionState]:
        """
        List sessions in the order in which they began, a page at a time.

        Args:
            after: What the page before this one gave as ``next``; empty: from the start.
            most: The size of the page, up to ``LARGEST_PAGE``.
            only: Which.
        """
        most, last = checked_page(most), _place(after)
        found = [one for one in await self._find(only) if one.number > last]
        return page_of(found[: most + 1], most, lambda one: str(one.number))

    async def end(self, only: SessionFilter, *, by: str) -> int:
        """
        End sessions, as soon as what each has under way is answered.

        Returns:
            How many.

        Raises:
            NotFound: There is none of them.
        """
        found = await self._find(only)
        if not found:
            raise NotFound("no open session is like that; mailctl session list shows them")
        told = {"sessions": [one.number for one in found[:_MOST_TOLD]], "count": len(found)}
        await self._office.note(Record(by, "session kill", told))
        self._switchboard.end([one.number for one in found], Ending.KILLED)
        return len(found)

    async def _find(self, only: SessionFilter) -> Found:
        tests = [*_tests(only)]
        if only.user:
            user = str(await self._office.address(only.user))
            tests.append(lambda one: one.user == user)
        found = (one for one in self._switchboard.sessions() if all(test(one) for test in tests))
        return sorted(found, key=lambda one: one.number)


_MOST_TOLD = 100
"""Numbers in one row of the trail."""


def _place(after: str) -> int:
    if after and not (after.isascii() and after.isdigit()):
        raise CommandError(f"{after!r} is no place in a list; begin anew")
    return int(after or "0")


def _tests(only: SessionFilter) -> Iterator[Holds]:
    if only.numbers:
        numbers = frozenset(only.numbers)
        yield lambda one: one.number in numbers
    if only.network:
        yield _from(only.network)
    if only.listener:
        yield lambda one: only.listener in {one.listener, one.service}


def _from(text: str) -> Holds:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise CommandError(
            f"{text!r} is neither an IP address nor a network; write 192.0.2.7 or 2001:db8::/32"
        ) from None
    return lambda one: bool(one.client) and ip_address(one.client) in network
