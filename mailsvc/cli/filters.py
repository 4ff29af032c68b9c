"""``mailctl filter``: who is kept out, and who is let in all the same."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from mailsvc.cli.output import Column, clean, end, moment, show_json, show_table
from mailsvc.cli.parameters import for_option
from mailsvc.cli.place import Place, all_rows, as_json, examples, pass_place

if TYPE_CHECKING:  # see place.py
    from mailsvc.model.rule import Rule

_COLUMNS = (
    Column("Number", right=True),
    Column("Action"),
    Column("Subject"),
    Column("Service"),
    Column("Direction"),
    Column("Until"),
    Column("Note"),
)


@click.group("filter")
def filter_() -> None:
    """
    Keep addresses, domains and networks out, or let them in.

    The most specific rule decides: a longer prefix before a shorter one, an address before
    its domain; of equals the one that denies.
    """


@filter_.command(
    epilog=examples(
        "mailctl filter add deny 192.0.2.0/24 --for 2h",
        "mailctl filter add allow 192.0.2.7",
        'mailctl filter add deny spammer@example.org --note "asked twice"',
        "mailctl filter add deny '*.example.org' --service smtp --direction send",
        "mailctl filter add deny alice@test.com --service pop3",
    )
)
@click.argument("action", metavar="allow|deny", type=click.Choice(["allow", "deny"]))
@click.argument("subject")
@click.option(
    "--service",
    type=click.Choice(["smtp", "pop3", "web"]),
    help="For this one only; else for all.",
)
@click.option(
    "--direction",
    type=click.Choice(["send", "receive"]),
    help="This way only; else both.",
)
@click.option("--note", default="", help="For people.")
@for_option("it counts no more")
@as_json
@pass_place
def add(place: Place, /, action: str, *, as_json: bool, **given: Any) -> None:
    """
    Add a rule about a SUBJECT: a mail address, a domain, an IP address or a network.

    "*.example.org" is every domain below example.org. A client is judged by its network when
    it connects; an address when somebody logs in with it, sends from it or sends to it.
    """
    from mailsvc.model.rule import Action, Direction, NewRule

    span: timedelta | None = given["span"]
    new = NewRule(
        action=Action(action),
        subject=given["subject"],
        service=given["service"] or "",
        direction=Direction(given["direction"] or ""),
        note=given["note"],
        span=span,
    )
    made = place.talk(lambda client: client.filters.add(new))
    if as_json:
        show_json(_json(made))
        return
    until = "" if made.expires is None else f" until {end(made.expires)}"
    click.echo(clean(f"Rule {made.number}: {made.action.value} {made.subject}{until}."))


@filter_.command("list", epilog=examples("mailctl filter list"))
@as_json
@pass_place
def list_(place: Place, *, as_json: bool) -> None:
    """List all rules, the oldest first."""
    found = place.talk(lambda client: all_rows(client.filters.list))
    if as_json:
        show_json([_json(one) for one in found])
    else:
        show_table(_COLUMNS, [_row(one) for one in found])


@filter_.command(epilog=examples("mailctl filter remove 1234"))
@click.argument("number", type=click.IntRange(min=1))
@as_json
@pass_place
def remove(place: Place, number: int, *, as_json: bool) -> None:
    """Remove a rule."""
    place.talk(lambda client: client.filters.remove(number))
    if as_json:
        show_json({"number": number, "removed": True})
    else:
        click.echo(f"Removed rule {number}.")


@filter_.command(
    epilog=examples(
        "mailctl filter test alice@test.com 192.0.2.7",
        "mailctl filter test --ip 2001:db8::1",
    )
)
@click.argument("address", default="")
@click.argument("ip", default="")
@click.option("--ip", "only_ip", default="", help="Without an address.")
@as_json
@pass_place
def test(place: Place, address: str, ip: str, only_ip: str, *, as_json: bool) -> None:
    """Tell what the rules say to an ADDRESS and a client's IP, and which one decides."""
    client_ip = ip or only_ip
    if not (address or client_ip):
        raise click.UsageError("give an address, an IP address, or both")
    found = place.talk(lambda client: client.filters.test(address, client_ip))
    if as_json:
        show_json([{"what": one.what, "allowed": one.allowed, "rule": one.number} for one in found])
        return
    for one in found:
        why = "no rule" if one.number is None else f"rule {one.number}, {one.subject}"
        click.echo(clean(f"{'yes' if one.allowed else 'NO '}  {one.what}  ({why})"))


def _row(one: "Rule") -> list[str]:
    names = [one.service or "all", one.direction.value or "both"]
    until = "" if one.expires is None else moment(one.expires)
    return [str(one.number), one.action.value, one.subject, *names, until, one.note]


def _json(one: "Rule") -> dict[str, Any]:
    return {
        "number": one.number,
        "action": one.action.value,
        "kind": one.kind.value,
        "subject": one.subject,
        "service": one.service or None,
        "direction": one.direction.value or None,
        "note": one.note,
        "created": one.created.isoformat(),
        "expires": None if one.expires is None else one.expires.isoformat(),
    }
