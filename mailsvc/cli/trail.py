"""``mailctl trace`` and ``mailctl trail``: what happened, from the database."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mailsvc.cli.output import Column, show_json, show_table
from mailsvc.cli.parameters import Moment
from mailsvc.cli.place import Place, all_rows, as_json, examples, pass_place
from mailsvc.model.story import EVENTS, StoryFilter

if TYPE_CHECKING:  # see place.py
    from mailsvc.control.client import ControlClient
    from mailsvc.model.story import StoryRow

_EVENT = f"Of a kind: {', '.join(EVENTS)}."
_WHEN = (Column("Time (UTC)", whole=True), Column("Event"))
_MESSAGE = Column("Message", whole=True)
_WHAT = (
    Column("Client"),
    Column("Account"),
    Column("From"),
    Column("To"),
    Column("Status"),
    Column("Detail"),
)


@click.command(
    epilog=examples("mailctl trace 0192f3ab12345678", 'mailctl trace "<1234@example.com>"')
)
@click.argument("message")
@as_json
@pass_place
def trace(place: Place, message: str, *, as_json: bool) -> None:
    """
    Tell the whole story of a MESSAGE: who got it, who read and removed it, who refused it.

    It is the id of the 250 reply, which also stands in Received, or the Message-ID.
    """
    found = place.talk(lambda client: all_rows(lambda after: client.trail.trace(message, after)))
    _show(found, in_json=as_json, named=False)


@click.group()
def trail() -> None:
    """Look into the trail: all that happened, one row each, in the database."""


@trail.command(
    epilog=examples(
        "mailctl trail search --since 2h",
        "mailctl trail search --account alice --event login",
        "mailctl trail search --address bob@test.com --since 2026-11-24 --limit 500",
    )
)
@click.option("--since", type=Moment(), help="Since: 2h (ago), or 2026-11-24.")
@click.option("--until", type=Moment(), help="Before: 2h (ago), or 2026-11-24T10:00.")
@click.option("--account", default="", metavar="ADDRESS", help="About a user.")
@click.option("--address", default="", help="From it or to it.")
@click.option("--ip", "client_ip", default="", metavar="ADDRESS", help="From a client.")
@click.option("--event", type=click.Choice(EVENTS), metavar="EVENT", help=_EVENT)
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Rows.")
@as_json
@pass_place
def search(place: Place, /, limit: int, event: str | None, *, as_json: bool, **given: Any) -> None:
    """List rows, the latest first; "mailctl trace" takes what the column "Message" names."""
    only = StoryFilter(event=event or "", **given)
    _show(place.talk(lambda client: _some(client, only, limit)), in_json=as_json, named=True)


async def _some(client: "ControlClient", only: "StoryFilter", limit: int) -> "list[StoryRow]":
    found: list[StoryRow] = []
    after: str | None = ""
    while after is not None and len(found) < limit:
        page = await client.trail.search(after, min(limit - len(found), 200), only)
        found += page.rows
        after = page.next
    return found


def _show(rows: "Sequence[StoryRow]", *, in_json: bool, named: bool) -> None:
    """Show rows; a table names their messages where there may be several."""
    if in_json:
        show_json([_json(one) for one in rows])
        return
    columns = (*_WHEN, *((_MESSAGE,) if named else ()), *_WHAT)
    show_table(columns, [_row(one, named=named) for one in rows])


def _row(one: "StoryRow", *, named: bool) -> list[str]:
    when = [one.at.strftime("%Y-%m-%d %H:%M:%S"), one.event]
    who = [one.client_ip, one.account, one.sender, one.recipient]
    return [*when, *([one.message] if named else ()), *who, one.status, one.detail]


def _json(one: "StoryRow") -> dict[str, Any]:
    return {
        "time": one.at.isoformat(timespec="milliseconds"),
        "event": one.event,
        "message": one.message or None,
        "account": one.account or None,
        "client": one.client_ip or None,
        "from": one.sender or None,
        "to": one.recipient or None,
        "status": one.status or None,
        "detail": one.detail or None,
    }
