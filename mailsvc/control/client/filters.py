"""The client's commands about filters."""

from mailsvc.control.boxes import box_of, build
from mailsvc.control.client.connection import ControlConnection
from mailsvc.control.commands.filters import FilterAdd, FilterList, FilterRemove, FilterTest
from mailsvc.model.page import LARGEST_PAGE, Page
from mailsvc.model.rule import NewRule, Rule, RuleTest


class FiltersClient:
    """
    Rules; errors as in ``ControlClient``.

    Args:
        line: To the daemon.
    """

    def __init__(self, line: ControlConnection) -> None:
        self._line = line

    async def add(self, new: NewRule) -> Rule:
        """Add a rule."""
        return build(Rule, await self._line.ask(FilterAdd, **box_of(new)))

    async def remove(self, number: int) -> None:
        """Remove a rule."""
        await self._line.ask(FilterRemove, number=number)

    async def test(self, address: str, ip: str) -> tuple[RuleTest, ...]:
        """Tell what the rules say to an address and a client; either may be empty."""
        tests: tuple[RuleTest, ...] = (await self._line.ask(FilterTest, address=address, ip=ip))[
            "tests"
        ]
        return tests

    async def list(self, after: str = "", most: int = LARGEST_PAGE) -> Page[Rule]:
        """List rules, the oldest first, a page at a time."""
        return await self._line.page(FilterList, after, most)
