"""What commands print: tables for people, plain columns for pipes, JSON for programs."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from shutil import get_terminal_size
from typing import Any, NamedTuple
from unicodedata import combining, east_asian_width

import click

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEP = 1024
NOTHING = "-"
"""Stands for what is empty, so that columns can be counted."""
_BETWEEN = 3
"""Columns of the terminal between two of a table."""
_MINUTES = timedelta(minutes=5)


class Column(NamedTuple):
    """
    One column of a table.

    Args:
        title: Its head.
        right: Whether it stands on the right, as numbers do.
        whole: Whether its cells are not folded, for people copy them: where the terminal is
            too narrow for the table, lines run on instead.
    """

    title: str
    right: bool = False
    whole: bool = False


def show_json(value: Any) -> None:
    """Print JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def show_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; nothing is cut off, also where the terminal is too narrow."""
    shown = [[clean(cell) or NOTHING for cell in row] for row in rows]
    if sys.stdout.isatty() and _may_fold(columns, shown):
        _show_rich(columns, shown)
    else:
        _show_plain(columns, shown)


def _may_fold(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the terminal is wide enough, or may fold every cell."""
    if not any(column.whole for column in columns):
        return True
    needed = sum(_widths(columns, rows)) + _BETWEEN * len(columns)
    return needed <= get_terminal_size().columns


def _show_rich(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left", overflow="fold")
    for row in rows:
        # Text: the names of users are no markup.
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def _show_plain(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    lines = [[column.title.upper() for column in columns], *rows]
    widths = _widths(columns, rows)
    for line in lines:
        cells = (
            _padded(cell, width, right=column.right)
            for cell, width, column in zip(line, widths, columns, strict=True)
        )
        click.echo("  ".join(cells).rstrip())


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    """Tell how wide each column must be for all that stands in it."""
    lines = [[column.title for column in columns], *rows]
    return [max(_width(line[index]) for line in lines) for index in range(len(columns))]


def _padded(cell: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space


def _width(text: str) -> int:
    """Count the columns of a terminal: Chinese characters take two."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(one) else 1 + (east_asian_width(one) in "WF") for one in text)


def clean(text: str) -> str:
    """Replace what would command the terminal: others have written it."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def size(octets: int | None) -> str:
    """Write a size for people; None, no limit, is empty."""
    if octets is None:
        return ""
    amount, unit = float(octets), 0
    while amount >= _STEP and unit < len(_UNITS) - 1:
        amount, unit = amount / _STEP, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}" if unit else f"{octets} B"


def count(number: int, one: str, many: str) -> str:
    """Write ``1 domain`` or ``2 domains``."""
    return f"{number} {one if number == 1 else many}"


def moment(when: datetime | None) -> str:
    """Write a moment for people: UTC, to the minute; None is empty."""
    return "" if when is None else when.strftime("%Y-%m-%d %H:%M UTC")


def end(when: datetime) -> str:
    """Write when something ends: as a moment, to the second where that is minutes away."""
    if when - datetime.now(UTC) > _MINUTES:
        return moment(when)
    return when.strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """Write a duration for people, by its two largest units."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((index for index, part in enumerate(parts) if part[0]), len(parts) - 1)
    return " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2])
