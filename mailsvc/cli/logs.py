"""``mailctl log``: what the parts of the service have written down."""

import json
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from mailsvc.cli.output import clean, show_json
from mailsvc.cli.parameters import Moment
from mailsvc.cli.place import Place, as_json, examples, pass_place
from mailsvc.model.log import LOGS

if TYPE_CHECKING:  # see place.py
    from mailsvc.control.client import ControlClient
    from mailsvc.model.log import LogFilter

_WORDS = ("account", "address", "ip", "message", "text")
_which = click.argument("name", metavar="|".join(LOGS), type=click.Choice(LOGS))
_raw = click.option("--json", "as_json", is_flag=True, help="Print the lines as they are: JSON.")


@click.group()
def log() -> None:
    """
    Read and clear the logs: smtp, pop3, control, delivery, and service for the rest.

    Each line is JSON in a file of the daemon; here it is written for people, or with --json
    as it is. Times are UTC.
    """


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which lines."""
    level = click.Choice(["debug", "info", "warn", "error"])
    for option in (
        click.option("--level", type=level, help="As important as this, or more."),
        click.option("--text", help="These words stand in the line."),
        click.option("--message", metavar="ID", help="About a message: the id of its 250 reply."),
        click.option("--ip", metavar="ADDRESS", help="About a client."),
        click.option("--address", help="About a mail address."),
        click.option("--account", metavar="ADDRESS", help="About a user."),
        click.option("--until", type=Moment(), help="Before: 2h (ago), or 2026-11-24T10:00."),
        click.option("--since", type=Moment(), help="Since: 2h (ago), or 2026-11-24."),
    ):
        command = option(command)
    return command


def _filter(given: dict[str, Any]) -> "LogFilter":
    from mailsvc.model.log import LogFilter

    return LogFilter(
        since=given["since"],
        until=given["until"],
        level=given["level"] or "",
        words=tuple(given[name] for name in _WORDS if given[name]),
    )


@log.command(epilog=examples("mailctl log show smtp", "mailctl log show pop3 -n 200 --since 2h"))
@_which
@click.option(
    "-n", "most", type=click.IntRange(min=1), default=50, show_default=True, help="Lines."
)
@_filters
@_raw
@pass_place
def show(place: Place, /, name: str, most: int, *, as_json: bool, **given: Any) -> None:
    """Show the last lines of a log."""
    only = _filter(given)

    async def collect(client: "ControlClient") -> "deque[str]":
        last: deque[str] = deque(maxlen=most)
        async for line in client.logs.lines(name, only):
            last.append(line)
        return last

    for line in place.talk(collect):
        _print(line, as_json=as_json)


@log.command(
    epilog=examples(
        "mailctl log search smtp --ip 192.0.2.7 --since 2026-11-24",
        "mailctl log search delivery --message 0192f3ab12345678",
        "mailctl log search pop3 --account alice@test.com --json",
    )
)
@_which
@_filters
@_raw
@pass_place
def search(place: Place, /, name: str, *, as_json: bool, **given: Any) -> None:
    """Show all lines of a log that the options say, rotated files included."""
    only = _filter(given)
    place.talk(lambda client: _print_all(client.logs.lines(name, only), as_json=as_json))


@log.command(epilog=examples("mailctl log follow smtp", "mailctl log follow pop3 --level warn"))
@_which
@_filters
@_raw
@pass_place
def follow(place: Place, /, name: str, *, as_json: bool, **given: Any) -> None:
    """Show the lines of a log as they are written, until Ctrl-C."""
    only = _filter(given)
    try:
        place.talk(lambda client: _print_all(client.logs.follow(name, only), as_json=as_json))
    except KeyboardInterrupt:
        return


async def _print_all(lines: Any, *, as_json: bool) -> None:
    async for line in lines:
        _print(line, as_json=as_json)


@log.command(epilog=examples("mailctl log clear smtp"))
@_which
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@pass_place
def clear(place: Place, name: str, *, yes: bool, as_json: bool) -> None:
    """Remove all lines of a log, rotated files included; the trail says who did it."""
    if not yes:
        if not place.doors.interactive():
            raise click.UsageError("nobody can be asked here: say --yes")
        click.confirm(f"Remove all lines of the log {name}?", abort=True, err=True)
    place.talk(lambda client: client.logs.clear(name))
    if as_json:
        show_json({"log": name, "cleared": True})
    else:
        click.echo(f"The log {name} is empty.")


def _print(line: str, *, as_json: bool) -> None:
    click.echo(line if as_json else clean(_readable(line)))


def _readable(line: str) -> str:
    """Write a line for people; one that is no JSON is shown as it is."""
    try:
        told = json.loads(line)
        when = datetime.fromisoformat(told["time"]).astimezone(UTC)
        level, text = told["level"], told["text"]
    except (ValueError, KeyError, TypeError):
        return line
    loud = "" if level == "info" else f"{level.upper()}: "
    return f"{when:%Y-%m-%d %H:%M:%S} {loud}{text}"
