"""``mailctl queue``: mail that waits for other servers."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mailsvc.cli.output import Column, clean, count, moment, show_json, show_table, size
from mailsvc.cli.place import Place, all_rows, as_json, examples, pass_place

if TYPE_CHECKING:  # see place.py
    from mailsvc.model.waiting import Attempt, Pick, Waiting

Command = TypeVar("Command", bound=Callable[..., Any])
_COLUMNS = (
    Column("Message"),
    Column("Sender"),
    Column("Recipient"),
    Column("Size", right=True),
    Column("Tries", right=True),
    Column("Next try"),
    Column("Last reply"),
)
_DONE = {
    "retry": "tried now",
    "hold": "held",
    "release": "released",
    "delete": "deleted",
    "bounce": "sent back",
}


@click.group()
def queue() -> None:
    """
    Look at mail that waits for other servers, and change what becomes of it.

    One message may wait for several recipients: each waits for itself.
    """


def _picked(command: Command) -> Command:
    """Add what chooses recipients."""
    for option in reversed(
        (
            click.argument("message", default=""),
            click.option("--sender", default="", help='From this address; "<>" is none.'),
            click.option("--recipient", default="", help="For this address."),
            click.option("--domain", default="", help="For addresses of this domain."),
        )
    ):
        command = option(command)
    return command


def _pick(given: dict[str, Any], *, everything: bool) -> "Pick":
    from mailsvc.model.waiting import Pick

    names = ("message", "sender", "recipient", "domain")
    return Pick(**{name: given[name] for name in names}, everything=everything)


@queue.command(
    "list",
    epilog=examples(
        "mailctl queue list",
        "mailctl queue list --domain example.org",
        "mailctl queue list --held --json | jq -r .[].message",
    ),
)
@_picked
@click.option("--held", is_flag=True, help="Only what is held.")
@as_json
@pass_place
def list_(place: Place, /, *, as_json: bool, **given: Any) -> None:
    """List what waits, the oldest first; all, or that of one MESSAGE."""
    from dataclasses import replace

    pick = replace(_pick(given, everything=True), held=given["held"])
    found = place.talk(lambda client: all_rows(lambda after: client.queue.list(after, pick=pick)))
    if as_json:
        show_json([_json(one) for one in found])
    elif found:
        show_table(_COLUMNS, [_row(one) for one in found])
    else:
        click.echo("Nothing waits.")


@queue.command(epilog=examples("mailctl queue show 0192f3ab12345678"))
@click.argument("message")
@as_json
@pass_place
def show(place: Place, message: str, *, as_json: bool) -> None:
    """Show for whom a MESSAGE waits, and each attempt with what was said."""
    pick = _pick({"message": message, "sender": "", "recipient": "", "domain": ""}, everything=True)
    attempts = place.talk(
        lambda client: all_rows(lambda after: client.queue.attempts(message, after))
    )
    waiting = place.talk(lambda client: all_rows(lambda after: client.queue.list(after, pick=pick)))
    if as_json:
        show_json(
            {
                "waiting": [_json(one) for one in waiting],
                "attempts": [_attempt_json(one) for one in attempts],
            }
        )
        return
    for one in waiting:
        click.echo(clean(f"{one.recipient}: {_state(one)}; it goes back {moment(one.expires)}"))
        if one.reply:
            click.echo(clean(f"    {one.reply}"))
    if not waiting:
        click.echo("It waits for nobody any more.")
    for attempt in attempts:
        _show_attempt(attempt)


def _show_attempt(one: "Attempt") -> None:
    where = f" by {one.host}" if one.host else ""
    tls = f", {one.tls}" if one.tls else ""
    when = one.started.strftime("%Y-%m-%d %H:%M:%S UTC")
    click.echo(clean(f"\n{when}: {one.outcome.value}{where}{tls}".strip()))
    for line in one.conversation.splitlines():
        click.echo(clean(f"    {line}"))


def _change(name: str, what: str, more: str = "", *, asks: bool = False) -> None:
    """Make one of the commands that change the queue."""

    @queue.command(
        name,
        help=f"{what}{more}",
        epilog=examples(
            f"mailctl queue {name} 0192f3ab12345678", f"mailctl queue {name} --domain example.org"
        ),
    )
    @_picked
    @click.option("--all", "everything", is_flag=True, help="Everything that waits.")
    @as_json
    @pass_place
    def command(place: Place, /, *, as_json: bool, everything: bool, **given: Any) -> None:
        from mailsvc.model.waiting import QueueAction

        pick = _pick(given, everything=everything)
        if asks and everything and not as_json:
            click.confirm(f"{what.rstrip('.')}: everything?", abort=True)
        done = place.talk(lambda client: client.queue.change(QueueAction(name), pick))
        if as_json:
            show_json({"changed": done.changed, "left": done.left})
            return
        click.echo(f"{count(done.changed, 'recipient', 'recipients')} {_DONE[name]}.")
        if done.left:
            click.echo(f"{count(done.left, 'is', 'are')} under way now, and left alone.")


_change("retry", "Try now to deliver, whatever happened before.")
_change("hold", "Keep it in the queue, without any attempt.")
_change("release", "Let go what was held; it is tried at once.")
_change("delete", "Remove it; nobody is told.", asks=True)
_change("bounce", "Send it back to its sender, with a report.", asks=True)


def _state(one: "Waiting") -> str:
    if one.under_way:
        return "under way now"
    if one.held:
        return "held"
    return moment(one.next_attempt)


def _row(one: "Waiting") -> list[str]:
    return [
        one.message,
        one.sender or "<>",
        one.recipient,
        size(one.octets),
        str(one.attempts),
        _state(one),
        one.reply,
    ]


def _json(one: "Waiting") -> dict[str, Any]:
    return {
        "number": one.number,
        "message": one.message,
        "sender": one.sender,
        "recipient": one.recipient,
        "octets": one.octets,
        "attempts": one.attempts,
        "created": one.created.isoformat(),
        "next_attempt": one.next_attempt.isoformat(),
        "expires": one.expires.isoformat(),
        "held": one.held,
        "under_way": one.under_way,
        "reply": one.reply,
    }


def _attempt_json(one: "Attempt") -> dict[str, Any]:
    return {
        "recipient_number": one.queue,
        "started": one.started.isoformat(),
        "ended": one.ended.isoformat(),
        "host": one.host,
        "tls": one.tls,
        "outcome": one.outcome.value,
        "conversation": one.conversation.splitlines(),
    }
