"""``mailctl user``: accounts; the commands that make and protect them."""

import re
from typing import TYPE_CHECKING, Any

import click

from mailsvc.cli.output import clean, count, show_json
from mailsvc.cli.parameters import SizeOrNone, messages_or_none
from mailsvc.cli.passwords import password_options, read_password
from mailsvc.cli.place import Place, as_json, examples, pass_place
from mailsvc.cli.registration import approve, reject
from mailsvc.cli.user_changes import delete, disable, enable, export, grant, rename, revoke, set_
from mailsvc.cli.user_changes import switch as switch_
from mailsvc.cli.user_import import import_
from mailsvc.cli.user_list import list_, pending, show

if TYPE_CHECKING:  # see place.py
    from mailsvc.model.address import Address
    from mailsvc.model.user import NewLogin


@click.group()
def user() -> None:
    """
    Make, list, change and delete accounts.

    An ADDRESS without @ belongs to the first domain: "alice" is "alice@test.com" there.

    An account without a quota of its own has that of its domain.
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
@click.option(
    "--quota", type=SizeOrNone(), help='Most mail in all folders, such as 500MiB, or "none".'
)
@click.option("--quota-messages", metavar="NUMBER", help="Most messages in all folders.")
@click.option("--language", default="", help="Of notices to the user: en or zh.")
@password_options
@as_json
@pass_place
def add(place: Place, /, **options: Any) -> None:
    """
    Make an account.

    Asks for the password on a terminal.
    """
    from mailsvc.model.account import Role
    from mailsvc.model.user import NewUser

    new = NewUser(
        address=options["address"],
        password=_password(place, options),
        display_name=options["name"],
        role=Role.ADMIN if options["admin"] else Role.USER,
        quota_octets=options["quota"],
        quota_messages=messages_or_none(options["quota_messages"]),
        language=options["language"],
    )
    made = place.talk(lambda client: client.users.add(new))
    _show_login(made, f"Made the account {made.address.shown}.", in_json=options["as_json"])


@user.command(epilog=examples("mailctl user passwd alice", "mailctl user passwd alice --generate"))
@click.argument("address")
@password_options
@as_json
@pass_place
def passwd(place: Place, /, **options: Any) -> None:
    """
    Replace the password of an account.

    Asks for it on a terminal. Open sessions of the account end.
    """
    address, password = options["address"], _password(place, options)
    made = place.talk(lambda client: client.users.set_password(address, password))
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
    whose: Address = place.talk(lambda client: client.users.set_keep(address, number))
    if as_json:
        show_json({"address": str(whose), "keep_days": number})
    elif number is None:
        click.echo(clean(f"{whose.shown} keeps its mail for ever."))
    else:
        click.echo(clean(f"{whose.shown} keeps its mail for {count(number, 'day', 'days')}."))


for _command in (
    list_,
    show,
    set_,
    rename,
    enable,
    disable,
    switch_,
    grant,
    revoke,
    delete,
    export,
    import_,
    pending,
    approve,
    reject,
):
    user.add_command(_command)
