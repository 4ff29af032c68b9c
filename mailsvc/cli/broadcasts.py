"""``mailctl broadcast``: a message to everybody, to a domain or to a group."""

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import click

from mailsvc.cli.output import Column, clean, count, moment, show_json, show_table
from mailsvc.cli.place import Place, all_rows, as_json, examples, pass_place

if TYPE_CHECKING:  # see place.py
    from mailsvc.control.client import ControlClient
    from mailsvc.model.broadcast import BroadcastPreview, BroadcastState, NewBroadcast

_COLUMNS = (
    Column("Number", right=True),
    Column("To"),
    Column("Delivered", right=True),
    Column("Skipped", right=True),
    Column("Ended"),
)
_PREVIEW = 12
"""Lines of the text."""


@click.group()
def broadcast() -> None:
    """
    Write to everybody, to a domain or to a group.

    The message is stored once. It comes from the postmaster, or from --from.
    """


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--yes", is_flag=True, help="Send without asking."),
        click.option("--from", "sender", default="", help="Who it is from; else the postmaster."),
        click.option("--eml", metavar="FILE", help="A whole message, with header; -: from stdin."),
        click.option("--text", metavar="FILE", help="Plain text in UTF-8; -: from stdin."),
        click.option("--subject", help="Of a text."),
        click.option("--group", metavar="ADDRESS", help="To the members of a group."),
        click.option("--domain", metavar="NAME", help="To all accounts of a domain."),
        click.option("--all", "everybody", is_flag=True, help="To all accounts."),
    ):
        command = option(command)
    return command


@broadcast.command(
    epilog=examples(
        'mailctl broadcast send --all --subject "Holidays" --text holidays.txt',
        "mailctl broadcast send --group teachers@test.com --eml letter.eml --yes",
        'echo "Back at nine." | mailctl broadcast send --domain test.com --subject News '
        "--text - --yes",
    )
)
@_options
@as_json
@pass_place
def send(place: Place, /, *, yes: bool, as_json: bool, **given: Any) -> None:
    """
    Send a message: shows it first, and asks.

    The daemon goes on by itself when mailctl is ended, and after a crash: nobody gets the
    message twice. Full and disabled mailboxes are skipped.
    """
    from mailsvc.cli.letters import read_file, write_letter

    new = _audience(given)
    eml, text, subject = given["eml"], given["text"], given["subject"]
    if (eml is None) is (text is None) or (text is None) is not (subject is None):
        raise click.UsageError("give --text with --subject, or --eml")
    content = read_file(text or eml)
    preview = place.talk(lambda client: client.broadcasts.preview(new))
    message = content if text is None else write_letter(preview.sender, subject, content)
    if not yes:
        _ask(place, preview, message)
    _send(place, new, message, as_json=as_json)


def _audience(given: dict[str, Any]) -> "NewBroadcast":
    from mailsvc.model.broadcast import Audience, NewBroadcast

    everybody, domain, group = given["everybody"], given["domain"], given["group"]
    if sum((everybody, domain is not None, group is not None)) != 1:
        raise click.UsageError("say to whom: --all, --domain NAME or --group ADDRESS")
    sender = given["sender"]
    if domain is not None:
        return NewBroadcast(audience=Audience.DOMAIN, name=domain, sender=sender)
    if group is not None:
        return NewBroadcast(audience=Audience.GROUP, name=group, sender=sender)
    return NewBroadcast(audience=Audience.ALL, sender=sender)


def _ask(place: Place, preview: "BroadcastPreview", message: bytes) -> None:
    from mailsvc.cli.previews import preview_lines

    if not place.doors.interactive():
        raise click.UsageError("nobody can be asked here; look at it in a terminal, or say --yes")
    for line in preview_lines(message, _PREVIEW):
        click.echo(f"  {clean(line)}", err=True)
    whom = f" of {preview.name}" if preview.name else ""
    many = count(preview.mailboxes, "mailbox", "mailboxes")
    question = f"Send this from {preview.sender} to {many}{whom}?"
    click.confirm(question, abort=True, err=True)


def _send(place: Place, new: "NewBroadcast", message: bytes, *, as_json: bool) -> None:
    began: list[int] = []

    async def converse(client: "ControlClient") -> "BroadcastState":
        state = await client.broadcasts.send(new, message)
        began.append(state.number)
        return await _follow(client.broadcasts.follow(state.number), state)

    try:
        state = place.talk(converse)
    except KeyboardInterrupt:
        if began:
            click.echo(f"\nIt goes on: mailctl broadcast show {began[0]}", err=True)
        raise
    _show(state, as_json=as_json)


async def _follow(
    states: "AsyncIterator[BroadcastState]", state: "BroadcastState"
) -> "BroadcastState":
    """Show a bar on a terminal until it has ended."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=state.total)
        async for now in states:
            state = now
            progress.update(bar, completed=state.delivered + state.skipped)
    return state


@broadcast.command("list", epilog=examples("mailctl broadcast list"))
@as_json
@pass_place
def list_(place: Place, *, as_json: bool) -> None:
    """List broadcasts, the latest first."""
    found = place.talk(lambda client: all_rows(client.broadcasts.list))
    if as_json:
        show_json([_json(one) for one in found])
    else:
        show_table(_COLUMNS, [_row(one) for one in found])


@broadcast.command(epilog=examples("mailctl broadcast show 1234"))
@click.argument("number", type=click.IntRange(min=1))
@as_json
@pass_place
def show(place: Place, number: int, *, as_json: bool) -> None:
    """Tell how far one is."""
    _show(place.talk(lambda client: client.broadcasts.show(number)), as_json=as_json)


@broadcast.command(epilog=examples("mailctl broadcast stop 1234"))
@click.argument("number", type=click.IntRange(min=1))
@as_json
@pass_place
def stop(place: Place, number: int, *, as_json: bool) -> None:
    """End one where it is; who has it keeps it."""
    _show(place.talk(lambda client: client.broadcasts.stop(number)), as_json=as_json)


def _show(one: "BroadcastState", *, as_json: bool) -> None:
    if as_json:
        show_json(_json(one))
        return
    how = "is under way" if one.ended is None else "has ended"
    mailboxes = count(one.total, "mailbox", "mailboxes")
    skipped = f", {one.skipped} skipped (full or disabled)" if one.skipped else ""
    click.echo(f"Broadcast {one.number} {how}: {one.delivered} of {mailboxes} have it{skipped}.")


def _whom(one: "BroadcastState") -> str:
    return one.name or "everybody"


def _row(one: "BroadcastState") -> list[str]:
    ended = "under way" if one.ended is None else moment(one.ended)
    delivered = f"{one.delivered} of {one.total}"
    return [str(one.number), _whom(one), delivered, str(one.skipped), ended]


def _json(one: "BroadcastState") -> dict[str, Any]:
    return {
        "number": one.number,
        "to": one.audience.value,
        "name": one.name or None,
        "from": one.sender,
        "octets": one.octets,
        "mailboxes": one.total,
        "delivered": one.delivered,
        "skipped": one.skipped,
        "created": one.created.isoformat(),
        "created_by": one.created_by,
        "ended": None if one.ended is None else one.ended.isoformat(),
    }
