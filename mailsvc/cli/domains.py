"""``mailctl domain``: the domains that are ours."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mailsvc.cli.output import Column, clean, count, show_json, show_table, size
from mailsvc.cli.parameters import NONE, SizeOrNone, number_or_none
from mailsvc.cli.place import Place, all_rows, as_json, examples, pass_place

if TYPE_CHECKING:  # see place.py
    from mailsvc.control.client import ControlClient
    from mailsvc.model.domain import DomainSummary, Saved

_COLUMNS = (
    Column("Domain"),
    Column("State"),
    Column("Accounts", right=True),
    Column("Aliases", right=True),
    Column("Messages", right=True),
    Column("Size", right=True),
    Column("Quota", right=True),
    Column("Catch-all"),
)


@click.group()
def domain() -> None:
    """
    Make, list, change and remove domains.

    Names may be in their own script. Users who log in without a domain, and addresses without
    @, belong to the first domain in use.
    """


@domain.command(epilog=examples("mailctl domain add example.com", "mailctl domain add 例子.测试"))
@click.argument("name")
@as_json
@pass_place
def add(place: Place, name: str, *, as_json: bool) -> None:
    """Make a domain yours: its mail is taken from now on."""
    made = place.talk(lambda client: client.domains.add(name))
    _tell(made, f"{made.shown} is a domain of yours now.", in_json=as_json)


@domain.command("list", epilog=examples("mailctl domain list"))
@as_json
@pass_place
def list_(place: Place, *, as_json: bool) -> None:
    """List all domains with what they hold."""
    found = place.talk(lambda client: all_rows(client.domains.list))
    if as_json:
        show_json([_json(one) for one in found])
    else:
        show_table(_COLUMNS, [_row(one) for one in found])


@domain.command(epilog=examples("mailctl domain show example.com"))
@click.argument("name")
@as_json
@pass_place
def show(place: Place, name: str, *, as_json: bool) -> None:
    """Show one domain."""
    found = place.talk(lambda client: client.domains.show(name))
    if as_json:
        show_json(_json(found))
        return
    for title, value in _lines(found):
        click.echo(clean(f"{title + ':':<12} {value}"))


def _lines(one: "DomainSummary") -> list[tuple[str, str]]:
    wire = f" ({one.name})" if one.shown != one.name else ""
    return [
        ("domain", f"{one.shown}{wire}"),
        ("state", _state(one)),
        ("accounts", f"{one.accounts}, {one.administrators} of them administrators"),
        ("aliases", str(one.aliases)),
        ("mail", f"{count(one.messages, 'message', 'messages')}, {size(one.octets)}"),
        ("quota", f"{_quota(one) or 'none'}, for accounts that have none of their own"),
        ("catch-all", one.catch_all.shown if one.catch_all else "none"),
    ]


@domain.command(epilog=examples("mailctl domain enable example.com"))
@click.argument("name")
@as_json
@pass_place
def enable(place: Place, name: str, *, as_json: bool) -> None:
    """Take mail for a domain again, and let its users log in."""
    changed = place.talk(lambda client: client.domains.switch(name, enabled=True))
    _tell(changed, f"{changed.shown} is enabled.", in_json=as_json)


@domain.command(epilog=examples("mailctl domain disable example.com"))
@click.argument("name")
@as_json
@pass_place
def disable(place: Place, name: str, *, as_json: bool) -> None:
    """
    Refuse mail for a domain, and the logins of its users.

    Other servers hear 550 5.2.1, so mail goes back to its senders. What is stored stays.
    """
    changed = place.talk(lambda client: client.domains.switch(name, enabled=False))
    _tell(changed, f"{changed.shown} is disabled.", in_json=as_json)


@domain.command(
    "set",
    epilog=examples(
        "mailctl domain set example.com --quota 1GiB --quota-messages 10000",
        "mailctl domain set example.com --catch-all alice@example.com",
        f"mailctl domain set example.com --quota {NONE} --catch-all {NONE}",
    ),
)
@click.argument("name")
@click.option("--quota", type=SizeOrNone(), help="Most mail of each account that has no own quota.")
@click.option("--quota-messages", metavar="NUMBER", help="Most messages of each such account.")
@click.option("--catch-all", metavar="ADDRESS", help="Gets mail for addresses that nobody has.")
@as_json
@pass_place
def set_(place: Place, /, **options: Any) -> None:
    """Change quotas and catch-all of a domain; "none" takes one away."""
    from mailsvc.model.domain import NO_CATCH_ALL, DomainChange

    messages, catch_all = options["quota_messages"], options["catch_all"]
    change = DomainChange(
        name=options["name"],
        quota_octets=options["quota"],
        quota_messages=None if messages is None else number_or_none(messages),
        catch_all=NO_CATCH_ALL if catch_all == NONE else catch_all,
    )
    changed = place.talk(lambda client: client.domains.set(change))
    catching = changed.catch_all.shown if changed.catch_all else "none"
    text = f"{changed.shown}: quota {_quota(changed) or 'none'}, catch-all {catching}."
    _tell(changed, text, in_json=options["as_json"])


@domain.command(
    epilog=examples(
        "mailctl domain remove example.com",
        "mailctl domain remove example.com --force --backup example.com.zip",
    )
)
@click.argument("name")
@click.option("--force", is_flag=True, help="Remove its accounts, aliases and all mail, too.")
@click.option("--backup", type=click.Path(path_type=Path), help="Save all that in this file first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@pass_place
def remove(place: Place, /, **options: Any) -> None:
    """
    Remove a domain.

    One with accounts or aliases needs --force and --backup: it is disabled, written into a new
    zip file with an mbox for each folder, and removed when the file is safe on the disk.
    """
    if options["force"] != (options["backup"] is not None):
        raise click.UsageError("--force and --backup FILE go together")
    name, backup = options["name"], options["backup"]
    if not options["yes"]:
        _confirm(place, name, force=options["force"])
    if backup is None:
        gone: str = place.talk(lambda client: client.domains.remove(name))
        saved = None
    else:
        gone, saved = place.talk(lambda client: _save_and_remove(client, name, backup))
    _tell_removed(gone, saved, backup, in_json=options["as_json"])


async def _save_and_remove(client: "ControlClient", name: str, backup: Path) -> "tuple[str, Saved]":
    """Save, then remove; a domain that cannot be is as it was before."""
    from mailsvc.cli.backup import new_file, save_domain

    found = await client.domains.show(name)
    try:
        with new_file(backup) as file:
            # Nothing may come in that is not saved.
            await client.domains.switch(found.name, enabled=False)
            saved = await save_domain(client, found.name, file)
        return await client.domains.remove(found.name, saved), saved
    except BaseException:
        if found.enabled:
            await client.domains.switch(found.name, enabled=True)
        raise


def _confirm(place: Place, name: str, *, force: bool) -> None:
    if not place.doors.interactive():
        raise click.UsageError("there is no terminal to ask on: say --yes to remove all the same")
    what = " with its accounts and all their mail" if force else ""
    click.confirm(f"Remove {clean(name)}{what}?", abort=True, err=True)


def _tell_removed(gone: str, saved: "Saved | None", backup: Path | None, *, in_json: bool) -> None:
    from mailsvc.model.address import shown_domain

    if in_json:
        file = None if backup is None else str(backup)
        show_json({"name": gone, "removed": True, "backup": file})
        return
    if saved is not None:
        accounts = count(saved.accounts, "account", "accounts")
        messages = count(saved.messages, "message", "messages")
        click.echo(clean(f"Saved {accounts} with {messages} in {backup}."))
    click.echo(clean(f"Removed the domain {shown_domain(gone)}."))


def _tell(one: "DomainSummary", text: str, *, in_json: bool) -> None:
    if in_json:
        show_json(_json(one))
    else:
        click.echo(clean(text))


def _state(one: "DomainSummary") -> str:
    return "enabled" if one.enabled else "disabled"


def _quota(one: "DomainSummary") -> str:
    limits = [size(one.quota_octets)]
    if one.quota_messages is not None:
        limits.append(count(one.quota_messages, "message", "messages"))
    return ", ".join(filter(None, limits))


def _row(one: "DomainSummary") -> list[str]:
    return [
        one.shown,
        _state(one),
        str(one.accounts),
        str(one.aliases),
        str(one.messages),
        size(one.octets),
        _quota(one),
        one.catch_all.shown if one.catch_all else "",
    ]


def _json(one: "DomainSummary") -> dict[str, Any]:
    return {
        "name": one.name,
        "shown": one.shown,
        "enabled": one.enabled,
        "accounts": one.accounts,
        "administrators": one.administrators,
        "aliases": one.aliases,
        "messages": one.messages,
        "octets": one.octets,
        "quota_octets": one.quota_octets,
        "quota_messages": one.quota_messages,
        "catch_all": None if one.catch_all is None else str(one.catch_all),
        "created": one.created.isoformat(),
    }
