"""``mailctl register``, ``passwd`` and ``invitation``: accounts that people make themselves."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from mailsvc.cli.output import Column, clean, count, moment, show_json, show_table
from mailsvc.cli.parameters import for_option
from mailsvc.cli.passwords import read_own_passwords, read_password
from mailsvc.cli.place import Place, all_rows, as_json, examples, pass_place

if TYPE_CHECKING:  # see place.py
    from mailsvc.model.registration import Invitation

_COLUMNS = (
    Column("Number", right=True),
    Column("Code"),
    Column("Uses left", right=True),
    Column("Until"),
    Column("Domain"),
    Column("Note"),
)
_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input."
)


@click.command(
    epilog=examples(
        'mailctl register dora --name "Dora Example"',
        "mailctl register dora --code abcde-fghjk-mnpqr-stuvw",
    )
)
@click.argument("address")
@click.option("--name", default="", help="Your name for people.")
@click.option("--language", default="", help="Of notices to you: en or zh.")
@click.option("--code", default="", help="Of an invitation.")
@_stdin
@as_json
@pass_place
def register(place: Place, /, **options: Any) -> None:
    """
    Make an account for yourself.

    Needs no login, but the administrator must allow it: registration.mode in the settings
    is invitation, approval or open. Asks for the password on a terminal.
    """
    from mailsvc.model.registration import Registrant

    password = read_password(place, password_stdin=options["password_stdin"], generate=False)
    who = Registrant(
        address=options["address"],
        password=password or b"",
        display_name=options["name"],
        language=options["language"],
        code=options["code"],
    )
    made = place.talk(lambda client: client.registration.register(who))
    if options["as_json"]:
        show_json({"address": str(made.address), "pending": made.pending})
        return
    ready = "You can log in as soon as an administrator has approved it."
    text = f"Made the account {made.address.shown}."
    click.echo(clean(f"{text} {ready if made.pending else 'You can log in with it.'}"))


@click.command(
    epilog=examples(
        "mailctl passwd alice",
        "printf 'old\\nnew\\n' | mailctl passwd alice --password-stdin",
    )
)
@click.argument("address")
@click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the old and the new password from standard input, one line each.",
)
@as_json
@pass_place
def passwd(place: Place, address: str, *, password_stdin: bool, as_json: bool) -> None:
    """
    Change your own password; the old one is asked for.

    Needs no other login. All your open sessions end.
    """
    old, new = read_own_passwords(place, password_stdin=password_stdin)
    changed = place.talk(lambda client: client.registration.change_password(address, old, new))
    if as_json:
        show_json({"address": str(changed)})
    else:
        click.echo(clean(f"Changed the password of {changed.shown}."))


@click.group()
def invitation() -> None:
    """
    Codes with which people make their own accounts.

    They count where registration.mode is invitation, approval or open: whoever has one needs
    no approval.
    """


@invitation.command(
    epilog=examples(
        "mailctl invitation add",
        'mailctl invitation add --uses 30 --for 7d --note "class 7b"',
        "mailctl invitation add --domain school.example.com",
    )
)
@click.option("--uses", type=int, default=1, show_default=True, help="For how many accounts.")
@for_option("it is not good any more")
@click.option("--domain", default="", help="Where accounts are made with it.")
@click.option("--note", default="", help="For you.")
@as_json
@pass_place
def add(place: Place, /, **options: Any) -> None:
    """Make an invitation; its code is shown this once."""
    from mailsvc.model.registration import NewInvitation

    span: timedelta | None = options["span"]
    new = NewInvitation(
        uses=options["uses"], span=span, note=options["note"], domain=options["domain"]
    )
    made = place.talk(lambda client: client.registration.invite(new))
    if options["as_json"]:
        expires = None if made.expires is None else made.expires.isoformat()
        shown = {"number": made.number, "code": made.code, "uses": made.uses, "expires": expires}
        show_json(shown)
        return
    until = "" if made.expires is None else f", until {moment(made.expires)}"
    click.echo(f"Invitation {made.number} for {count(made.uses, 'account', 'accounts')}{until}.")
    click.echo(f"Code: {made.code}")


@invitation.command("list", epilog=examples("mailctl invitation list"))
@as_json
@pass_place
def list_(place: Place, *, as_json: bool) -> None:
    """List the invitations that are good; of a code only its beginning is known."""
    found = place.talk(lambda client: all_rows(client.registration.invitations))
    if as_json:
        show_json([_json(one) for one in found])
        return
    rows = [
        [
            str(one.number),
            f"{one.hint}-...",
            str(one.uses_left),
            moment(one.expires),
            one.domain,
            one.note,
        ]
        for one in found
    ]
    show_table(_COLUMNS, rows)


@invitation.command(epilog=examples("mailctl invitation remove 7464900000000000001"))
@click.argument("number", type=int)
@as_json
@pass_place
def remove(place: Place, number: int, *, as_json: bool) -> None:
    """Make an invitation worthless; accounts that were made with it stay."""
    place.talk(lambda client: client.registration.remove_invitation(number))
    if as_json:
        show_json({"number": number})
    else:
        click.echo(f"Removed the invitation {number}.")


@click.command(epilog=examples("mailctl user approve dora"))
@click.argument("address")
@as_json
@pass_place
def approve(place: Place, address: str, *, as_json: bool) -> None:
    """Let somebody in who has registered: "user pending" lists who waits."""
    whose = place.talk(lambda client: client.registration.approve(address))
    if as_json:
        show_json({"address": str(whose)})
    else:
        click.echo(clean(f"{whose.shown} can log in now."))


@click.command(epilog=examples("mailctl user reject dora"))
@click.argument("address")
@as_json
@pass_place
def reject(place: Place, address: str, *, as_json: bool) -> None:
    """Remove the account of somebody who has registered and waits."""
    whose = place.talk(lambda client: client.registration.reject(address))
    if as_json:
        show_json({"address": str(whose)})
    else:
        click.echo(clean(f"Removed the account {whose.shown}."))


def _json(one: "Invitation") -> dict[str, Any]:
    return {
        "number": one.number,
        "hint": one.hint,
        "uses_left": one.uses_left,
        "domain": one.domain,
        "note": one.note,
        "created": one.created.isoformat(),
        "expires": None if one.expires is None else one.expires.isoformat(),
    }
