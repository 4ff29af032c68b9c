"""What all answers have in common."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.protocols.amp import Command

from mailsvc.admin.administration import Administration
from mailsvc.control.boxes import box_of
from mailsvc.model.envelope import Client
from mailsvc.model.page import LARGEST_PAGE, Page

MOST_OCTETS = 60_000
"""Of a list in one answer: a value of AMP holds 65,535."""


@dataclass(frozen=True, slots=True)
class Asked:
    """
    A command with who gives it.

    Args:
        administration: Does it.
        by: Who asks; text for the trail.
        client: Where he is, for limits.
        values: The arguments by name.
    """

    administration: Administration
    by: str
    client: Client
    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        """Give one argument."""
        return self.values[name]

    @property
    def page(self) -> tuple[str, int]:
        """Where the wanted page begins, and its size."""
        most = self.values["most"]
        return self.values["after"] or "", LARGEST_PAGE if most is None else most


Answer = Callable[[Asked], Awaitable[object]]
"""Gives a dataclass, a ``Page``, the fields of the answer by name, or None for an empty one."""

Answers = Mapping[type[Command], Answer]


def answer_box(command: type[Command], answer: Any) -> dict[str, Any]:
    """Give the fields of an answer by name; a page is cut where a value would be too large."""
    if isinstance(answer, Page):
        return _fitting(dict(command.response)[b"rows"], answer)
    return answer if isinstance(answer, dict) else box_of(answer)


def _fitting(kind: Any, page: Page[Any]) -> dict[str, Any]:
    octets = 0
    for index, row in enumerate(page.rows):
        octets += len(kind.toStringProto([row], None))
        if octets > MOST_OCTETS and index:
            return {"rows": page.rows[:index], "next": page.cursors[index - 1]}
    return {"rows": page.rows, "next": page.next}
