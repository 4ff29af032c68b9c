"""What is measured, its medians, and the table that shows it."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from statistics import median
from typing import Self

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One run of one scenario, or the medians of several."""

    rate: float
    """Per second: messages accepted, or what a POP3 scenario counts."""
    delivered: float
    """Per second: messages in mailboxes; the rate again where there is no such thing."""
    median: float
    """Seconds that a client waits."""
    p99: float
    server_cpu: float
    """Seconds for one operation, all processes of the server."""
    load_cpu: float
    """Seconds for one operation, the generator."""
    load_share: float
    """Of one core, that the generator used."""

    @classmethod
    def medians(cls, runs: Iterable[Self]) -> Self:
        """Find the median of each figure."""
        names = cls.__dataclass_fields__
        columns = zip(*map(astuple, runs), strict=True)
        return cls(**dict(zip(names, map(median, columns), strict=True)))


def quantile(values: Sequence[float], share: float) -> float:
    """Find the value below which a share of all values lies; 0 of none."""
    if not values:
        return 0.0
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


_WIDTH = 140


class Results:
    """
    The figures of all runs.

    Args:
        ours: Name of the server that the others are compared with.
        delivered: Whether deliveries are shown, and compared, beside the rate.
    """

    def __init__(self, ours: str, *, delivered: bool) -> None:
        # A file is wide enough for the table; so should a terminal be.
        self.console = Console(width=None if sys.stdout.isatty() else _WIDTH)
        self._ours = ours
        self._delivered = delivered
        self._runs: dict[str, dict[str, list[Figures]]] = {}

    def add(self, scenario: str, server: str, figures: Figures) -> None:
        """Keep the figures of one run, and show that it is done."""
        self._runs.setdefault(scenario, {}).setdefault(server, []).append(figures)
        delivered = f", {figures.delivered:,.0f} delivered/s" if self._delivered else ""
        self.console.print(f"{scenario}: {server}: {figures.rate:,.1f}/s{delivered}", style="dim")

    def show(self, title: str, rate: str) -> None:
        """Print the medians; *rate* is the name of the first figure."""
        columns = ["scenario", "server", rate, "delivered/s", f"{self._ours} is", "p50 ms"]
        columns += ["p99 ms", "server CPU us", "load CPU us", "load % of a core"]
        if not self._delivered:
            columns.remove("delivered/s")
        table = Table(title=title)
        for number, column in enumerate(columns):
            table.add_column(column, justify="right" if number > 1 else "left", no_wrap=number < 2)
        for scenario, servers in self._runs.items():
            rows = {server: Figures.medians(runs) for server, runs in servers.items()}
            for number, server in enumerate(rows):
                table.add_row("" if number else scenario, server, *self._cells(server, rows))
            table.add_section()
        self.console.print(table)

    def _cells(self, server: str, rows: dict[str, Figures]) -> list[str]:
        row, ours = rows[server], rows.get(self._ours)
        compared = ours is not None and server != self._ours
        return [
            f"{row.rate:,.1f}",
            *([f"{row.delivered:,.1f}"] if self._delivered else []),
            f"{ours.delivered / row.delivered:.2f} x" if ours and compared else "",
            f"{1000 * row.median:,.2f}" if row.median else "",
            f"{1000 * row.p99:,.2f}" if row.p99 else "",
            f"{1e6 * row.server_cpu:,.0f}",
            f"{1e6 * row.load_cpu:,.0f}",
            f"{100 * row.load_share:.0f}",
        ]
