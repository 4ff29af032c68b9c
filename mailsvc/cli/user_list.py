"""``mailctl user list`` and ``show``: what accounts are like."""

import sys
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import click

from mailsvc.cli.output import Column, clean, count, moment, show_json, show_table, size
from mailsvc.cli.place import Place, all_rows, as_json, examples, pass_place

if TYPE_CHECKING:  # see place.py
    from mailsvc.model.account import AccountSummary

_COLUMNS = (
    Column("Address"),
    Column("Role"),
    Column("State"),
    Column("Off"),
    Column("Used", right=True),
    Column("Quota", right=True),
    Column("Last login"),
)
_MORE = (Column("Messages", right=True), Column("Keeps", right=True), Column("Name"))
_WIDE = 120
"""Columns of a terminal that has room for everything."""


@click.command(
    "list",
    epilog=examples(
        "mailctl user list",
        "mailctl user list --domain example.com --disabled",
        "mailctl user list --json | jq -r '.[].address'",
    ),
)
@click.option("--domain", default="", help="Of this domain only.")
@click.option("--search", default="", metavar="TEXT", help="With this in the address or the name.")
@click.option("--admin", is_flag=True, help="Administrators only.")
@click.option("--disabled", is_flag=True, help="Disabled accounts only.")
@click.option("--wide", is_flag=True, help="Messages, days of keeping and names, too.")
@as_json
@pass_place
def list_(place: Place, /, **options: Any) -> None:
    """
    List accounts: state, front ends that are off, use and quota, last login.

    On a wide terminal, and with --wide, messages, days of keeping and names, too.
    """
    from mailsvc.model.account import AccountFilter, Role

    only = AccountFilter(
        domain=options["domain"],
        text=options["search"],
        role=Role.ADMIN if options["admin"] else None,
        enabled=False if options["disabled"] else None,
    )
    accounts = place.talk(
        lambda client: all_rows(lambda after: client.users.list(after, only=only))
    )
    if options["as_json"]:
        show_json([account_json(account) for account in accounts])
        return
    wide = options["wide"] or not sys.stdout.isatty() or get_terminal_size().columns >= _WIDE
    columns = (*_COLUMNS, *(_MORE if wide else ()))
    show_table(columns, [_row(account)[: len(columns)] for account in accounts])


@click.command(epilog=examples("mailctl user pending"))
@as_json
@pass_place
def pending(place: Place, *, as_json: bool) -> None:
    """List those who have registered and wait for approval, with when they came."""
    from mailsvc.model.account import AccountFilter

    only = AccountFilter(pending=True)
    accounts = place.talk(
        lambda client: all_rows(lambda after: client.users.list(after, only=only))
    )
    if as_json:
        show_json([account_json(account) for account in accounts])
    elif not accounts:
        click.echo("Nobody waits.")
    else:
        rows = [[str(one.address.shown), one.display_name, moment(one.created)] for one in accounts]
        show_table((Column("Address"), Column("Name"), Column("Registered")), rows)


@click.command(epilog=examples("mailctl user show alice"))
@click.argument("address")
@as_json
@pass_place
def show(place: Place, address: str, *, as_json: bool) -> None:
    """Show everything about one account but its password."""
    found = place.talk(lambda client: client.users.show(address))
    if as_json:
        show_json(account_json(found))
        return
    for title, value in _lines(found):
        click.echo(clean(f"{title + ':':<12} {value}"))


def _state(one: "AccountSummary") -> str:
    if one.pending:
        return "waiting"
    return "enabled" if one.enabled else "disabled"


def _off(one: "AccountSummary") -> str:
    from mailsvc.model.account import Scope

    return ", ".join(scope.value for scope in Scope if scope not in one.scopes)


def _quota(one: "AccountSummary") -> str:
    limits = [size(one.quota_octets)]
    if one.quota_messages is not None:
        limits.append(count(one.quota_messages, "message", "messages"))
    return ", ".join(filter(None, limits))


def _row(one: "AccountSummary") -> list[str]:
    return [
        one.address.shown,
        one.role.value,
        _state(one),
        _off(one),
        size(one.octets),
        _quota(one),
        moment(one.last_login) or "never",
        str(one.messages),
        "" if one.keep_days is None else f"{one.keep_days} d",
        one.display_name,
    ]


def _lines(one: "AccountSummary") -> list[tuple[str, str]]:
    from mailsvc.model.quota import QuotaSource

    limits = _quota(one) or "none"
    if QuotaSource.DOMAIN in {one.quota_octets_from, one.quota_messages_from}:
        limits += " (of the domain)"
    keeps = "for ever" if one.keep_days is None else count(one.keep_days, "day", "days")
    turns = [f"{turn.switch.value} turns at {moment(turn.at)}" for turn in one.turns]
    return [
        ("address", one.address.shown),
        ("name", one.display_name or "none"),
        ("role", one.role.value),
        ("state", "; ".join([_state(one), *turns])),
        ("logs in to", ", ".join(sorted(one.scopes)) or "nothing"),
        ("mail", f"{count(one.messages, 'message', 'messages')}, {size(one.octets)}"),
        ("quota", limits),
        ("sends a day", _daily(one)),
        ("keeps mail", keeps),
        ("language", one.language or "en"),
        ("made", moment(one.created)),
        ("last login", moment(one.last_login) or "never"),
    ]


def _daily(one: "AccountSummary") -> str:
    """Tell what may leave in a day, where it is the account's own."""
    from mailsvc.model.quota import NO_LIMIT

    def limit(most: int, what: str) -> str:
        return f"any number of {what}" if most == NO_LIMIT else f"{most} {what}"

    own = ((one.daily_messages, "messages"), (one.daily_recipients, "new recipients"))
    found = [limit(most, what) for most, what in own if most is not None]
    return ", ".join(found) or "as outbound of the settings says"


def account_json(one: "AccountSummary") -> dict[str, Any]:
    """Say an account to a program."""
    last = one.last_login
    return {
        "address": str(one.address),
        "name": one.display_name,
        "role": one.role.value,
        "enabled": one.enabled,
        "pending": one.pending,
        "services": sorted(scope.value for scope in one.scopes),
        "turns": {turn.switch.value: turn.at.isoformat() for turn in one.turns},
        "messages": one.messages,
        "octets": one.octets,
        "quota_octets": one.quota_octets,
        "quota_octets_from": one.quota_octets_from.value,
        "quota_messages": one.quota_messages,
        "quota_messages_from": one.quota_messages_from.value,
        "daily_messages": one.daily_messages,
        "daily_recipients": one.daily_recipients,
        "keep_days": one.keep_days,
        "language": one.language,
        "created": one.created.isoformat(),
        "last_login": None if last is None else last.isoformat(),
    }
