"""Part of a long list."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Row = TypeVar("Row")

LARGEST_PAGE = 200
"""Rows in one answer."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """
    Some rows, in the order of their cursors.

    Args:
        next: Give it back to get the page behind this one; None: this is the last one.
        cursors: One a row: where a page begins that starts behind it. A client has none.
    """

    rows: tuple[Row, ...]
    next: str | None
    cursors: tuple[str, ...] = field(default=(), compare=False)


def page_of(found: Sequence[Row], most: int, cursor: Callable[[Row], str]) -> Page[Row]:
    """
    Make a page of what was found.

    Args:
        found: One row more than the page may have, if there is one.
        most: The size of the page.
        cursor: Where a page begins that starts behind a row.
    """
    rows = tuple(found[:most])
    cursors = tuple(cursor(row) for row in rows)
    return Page(rows, cursors[-1] if len(found) > most else None, cursors)
