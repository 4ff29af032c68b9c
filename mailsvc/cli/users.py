"""``mailctl user``: accounts."""

import re
from typing import TYPE_CHECKING, Any

import click

from mailsvc.cli.output import Column, clean, count, moment, show_json, show_table, size
from mailsvc.cli.passwords import password_options, read_password
from mailsvc.cli.place import Place, as_json, examples, pass_place

if TYPE_CHECKING:  # see place.py
    from mailsvc.admin.values import NewLogin
    from mailsvc.control.client import ControlClient
    from mailsvc.model.account import AccountSummary
    from mailsvc.model.address import Address

_COLUMNS = (
    Column("Address"),
    Column("Role"),
    Column("State"),
    Column("Messages", right=True),
    Column("Size", right=True),
    Column("Quota", right=True),
    Column("Last login"),
    Column("Name"),
)


class _Size(click.ParamType["int"]):
    """A size as in config.yaml."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        from mailsvc.config.units import parse_octets

        try:
            return parse_octets(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


@click.group()
def user() -> None:
    """
    Make, list, change and delete accounts.

    An ADDRESS without @ belongs to the first domain: "alice" is "alice@test.com" there.
    """


@user.command(
    epilog=examples(
        'mailctl user add alice --name "Alice Example"',
        "mailctl user add bob@example.com --generate --quota 500MiB",
        "pass show mail/carol | mailctl user add carol --password-stdin",
    )
)
@click.argument("address")
@click.option("--name", default="", help="The user's name for people.")
@click.option("--admin", is_flag=True, help="Make an administrator: gets mail to postmaster.")
@click.option("--quota", type=_Size(), help="Most mail in all folders, such as 500MiB.")
@click.option("--quota-messages", type=click.IntRange(min=1), help="Most messages in all folders.")
@password_options
@as_json
@pass_place
def add(place: Place, /, **options: Any) -> None:
    """
    Make an account.

    Asks for the password on a terminal.
    """
    from mailsvc.admin.values import NewUser
    from mailsvc.model.account import Role

    new = NewUser(
        address=options["address"],
        password=_password(place, options),
        display_name=options["name"],
        role=Role.ADMIN if options["admin"] else Role.USER,
        quota_octets=options["quota"],
        quota_messages=options["quota_messages"],
    )
    made = place.talk(lambda client: client.add_user(new))
    _show_login(made, f"Made the account {made.address.shown}.", in_json=options["as_json"])


@user.command(epilog=examples("mailctl user passwd alice", "mailctl user passwd alice --generate"))
@click.argument("address")
@password_options
@as_json
@pass_place
def passwd(place: Place, /, **options: Any) -> None:
    """
    Replace the password of an account.

    Asks for it on a terminal. Who is logged in stays so; the next login needs the new one.
    """
    address, password = options["address"], _password(place, options)
    made = place.talk(lambda client: client.set_password(address, password))
    text = f"Changed the password of {made.address.shown}."
    _show_login(made, text, in_json=options["as_json"])


def _password(place: Place, options: dict[str, Any]) -> bytes | None:
    return read_password(
        place, password_stdin=options["password_stdin"], generate=options["generate"]
    )


def _show_login(made: "NewLogin", text: str, *, in_json: bool) -> None:
    if in_json:
        shown = {} if made.password is None else {"password": made.password}
        show_json({"address": str(made.address), **shown})
        return
    click.echo(clean(text))
    if made.password is not None:
        click.echo(f"Password: {made.password}")


@user.command(
    "list", epilog=examples("mailctl user list", "mailctl user list --json | jq -r '.[].address'")
)
@as_json
@pass_place
def list_(place: Place, *, as_json: bool) -> None:
    """List all accounts with what they hold."""
    accounts = place.talk(_all_accounts)
    if as_json:
        show_json([_account_json(account) for account in accounts])
    else:
        show_table(_COLUMNS, [_row(account) for account in accounts])


async def _all_accounts(client: "ControlClient") -> "list[AccountSummary]":
    page = await client.list_users()
    found = list(page.accounts)
    while page.next is not None:
        page = await client.list_users(page.next)
        found += page.accounts
    return found


def _row(account: "AccountSummary") -> list[str]:
    limits = [size(account.quota_octets)]
    if account.quota_messages is not None:
        limits.append(f"{account.quota_messages} messages")
    return [
        account.address.shown,
        account.role.value,
        "enabled" if account.enabled else "disabled",
        str(account.messages),
        size(account.octets),
        ", ".join(filter(None, limits)),
        moment(account.last_login) or "never",
        account.display_name,
    ]


def _account_json(account: "AccountSummary") -> dict[str, Any]:
    last = account.last_login
    return {
        "address": str(account.address),
        "name": account.display_name,
        "role": account.role.value,
        "enabled": account.enabled,
        "services": sorted(scope.value for scope in account.scopes),
        "messages": account.messages,
        "octets": account.octets,
        "quota_octets": account.quota_octets,
        "quota_messages": account.quota_messages,
        "keep_days": account.keep_days,
        "created": account.created.isoformat(),
        "last_login": None if last is None else last.isoformat(),
    }


_ALWAYS = "always"


@user.command(epilog=examples("mailctl user keep alice 30", f"mailctl user keep alice {_ALWAYS}"))
@click.argument("address")
@click.argument("days")
@as_json
@pass_place
def keep(place: Place, address: str, days: str, *, as_json: bool) -> None:
    """
    Say for how many DAYS an inbox keeps its mail, or "always".

    Older messages are removed for good, whether or not they were read.
    """
    if days != _ALWAYS and not re.fullmatch("[0-9]{1,9}", days):
        raise click.BadParameter(f'{days!r} is no number of days; write 30, or "{_ALWAYS}"')
    number = None if days == _ALWAYS else int(days)
    whose: Address = place.talk(lambda client: client.set_keep(address, number))
    if as_json:
        show_json({"address": str(whose), "keep_days": number})
    elif number is None:
        click.echo(clean(f"{whose.shown} keeps its mail for ever."))
    else:
        click.echo(clean(f"{whose.shown} keeps its mail for {count(number, 'day', 'days')}."))


@user.command(
    epilog=examples("mailctl user delete alice", "mailctl user delete bob@example.com --yes")
)
@click.argument("address")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@pass_place
def delete(place: Place, address: str, *, yes: bool, as_json: bool) -> None:
    """Delete an account with all its mail, for good."""
    if not yes:
        _confirm(place, address)
    gone: Address = place.talk(lambda client: client.delete_user(address))
    if as_json:
        show_json({"address": str(gone), "deleted": True})
    else:
        click.echo(clean(f"Deleted the account {gone.shown} and its mail."))


def _confirm(place: Place, address: str) -> None:
    if not place.doors.interactive():
        raise click.UsageError("there is no terminal to ask on: say --yes to delete all the same")
    text = f"Delete {clean(address)} and all its mail? This cannot be undone."
    click.confirm(text, abort=True, err=True)
