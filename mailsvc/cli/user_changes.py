"""``mailctl user``: the commands that change, save and delete accounts."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mailsvc.cli.output import clean, count, end, show_json
from mailsvc.cli.parameters import NONE, SizeOrNone, for_option, number_or_none
from mailsvc.cli.place import Place, as_json, examples, pass_place

if TYPE_CHECKING:  # see place.py
    from mailsvc.control.client import ControlClient
    from mailsvc.model.address import Address

_DEFAULT = "default"


class _Quota(SizeOrNone):
    """A size, "none", or "default": that of the domain."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        from mailsvc.model.user import DOMAINS_QUOTA

        return DOMAINS_QUOTA if value == _DEFAULT else super().convert(value, param, ctx)


@click.command(
    "set",
    epilog=examples(
        'mailctl user set alice --name "Alice Example" --language zh',
        "mailctl user set alice --quota 2GiB",
        f"mailctl user set alice --quota {_DEFAULT} --quota-messages {NONE}",
        "mailctl user set alice --daily-messages 50 --daily-recipients 20",
    ),
)
@click.argument("address")
@click.option("--name", help="The user's name for people.")
@click.option("--language", help="Of notices to the user: en or zh.")
@click.option("--quota", type=_Quota(), help="Most mail in all folders, such as 500MiB.")
@click.option("--quota-messages", metavar="NUMBER", help="Most messages in all folders.")
@click.option("--daily-messages", metavar="NUMBER", help="Most messages to other servers in a day.")
@click.option(
    "--daily-recipients",
    metavar="NUMBER",
    help="Most addresses on other servers in a day to which it has never written.",
)
@as_json
@pass_place
def set_(place: Place, /, **options: Any) -> None:
    """
    Change name, language, quotas and limits of an account.

    A quota is a number, "none" (no limit), or "default": that of the domain, and for what is
    sent in a day that of the settings.
    """
    from mailsvc.model.user import UserChange

    change = UserChange(
        address=options["address"],
        display_name=options["name"],
        language=options["language"],
        quota_octets=options["quota"],
        quota_messages=_number(options["quota_messages"]),
        daily_messages=_number(options["daily_messages"]),
        daily_recipients=_number(options["daily_recipients"]),
    )
    whose = place.talk(lambda client: client.users.set(change))
    _tell(whose, f"Changed the account {whose.shown}.", in_json=options["as_json"], changed=True)


def _number(text: str | None) -> int | None:
    """Read a number, "none" or "default"; None: it was not given."""
    from mailsvc.model.user import DOMAINS_QUOTA

    if text is None:
        return None
    return DOMAINS_QUOTA if text == _DEFAULT else number_or_none(text)


@click.command(epilog=examples("mailctl user rename alice alice.example"))
@click.argument("old")
@click.argument("new")
@as_json
@pass_place
def rename(place: Place, old: str, new: str, *, as_json: bool) -> None:
    """
    Give the account OLD the address NEW; its mail and its password stay.

    Aliases and groups follow it. Mail to OLD is refused from now on: make an alias of that
    name where it shall not be. The user logs in as NEW.
    """
    named = place.talk(lambda client: client.users.rename(old, new))
    _tell(named, f"The account is {named.shown} now.", in_json=as_json, renamed=True)


@click.command(epilog=examples("mailctl user enable alice", "mailctl user enable alice --for 2h"))
@click.argument("address")
@for_option("it is disabled")
@as_json
@pass_place
def enable(place: Place, address: str, span: timedelta | None, *, as_json: bool) -> None:
    """Let an account log in and get mail again."""
    _switch(place, address, "enabled", on=True, span=span, in_json=as_json)


@click.command(epilog=examples("mailctl user disable alice", "mailctl user disable bob --for 7d"))
@click.argument("address")
@for_option("it is enabled")
@as_json
@pass_place
def disable(place: Place, address: str, span: timedelta | None, *, as_json: bool) -> None:
    """
    Let an account neither log in nor get mail; what it has stays.

    Open sessions end. Other servers hear 550 5.2.1, so mail goes back to its senders.
    """
    _switch(place, address, "enabled", on=False, span=span, in_json=as_json)


@click.command(
    epilog=examples(
        "mailctl user switch alice pop3 off", "mailctl user switch bob smtp off --for 2h"
    )
)
@click.argument("address")
@click.argument("name", metavar="smtp|pop3|web", type=click.Choice(["smtp", "pop3", "web"]))
@click.argument("state", metavar="on|off", type=click.Choice(["on", "off"]))
@for_option("it turns back")
@as_json
@pass_place
def switch(place: Place, /, **options: Any) -> None:
    """
    Switch one front end of an account on or off: smtp (sending), pop3 (collecting) or web.

    Mail for the account is taken in either case. Open sessions end.
    """
    on = options["state"] == "on"
    span, in_json = options["span"], options["as_json"]
    _switch(place, options["address"], options["name"], on=on, span=span, in_json=in_json)


def _switch(
    place: Place, address: str, name: str, *, on: bool, span: timedelta | None, in_json: bool
) -> None:
    from mailsvc.model.account import Switch
    from mailsvc.model.user import UserSwitch

    asked = UserSwitch(address=address, switch=Switch(name), on=on, span=span)
    turned = place.talk(lambda client: client.users.switch(asked))
    if in_json:
        until = None if turned.until is None else turned.until.isoformat()
        show_json({"address": str(turned.address), name: on, "until": until})
        return
    late = "" if turned.until is None else f" until {end(turned.until)}"
    what = ("enabled" if on else "disabled") if name == "enabled" else f"{name} {_word(on=on)}"
    shown = turned.address.shown
    text = f"{shown} is {what}{late}." if name == "enabled" else f"{shown}: {what}{late}."
    click.echo(clean(text))


def _word(*, on: bool) -> str:
    return "on" if on else "off"


_ROLE = click.argument("role", metavar="admin", type=click.Choice(["admin"]))


@click.command(epilog=examples("mailctl user grant alice admin"))
@click.argument("address")
@_ROLE
@as_json
@pass_place
def grant(place: Place, address: str, role: str, *, as_json: bool) -> None:
    """Make somebody an administrator."""
    from mailsvc.model.account import Role

    whose = place.talk(lambda client: client.users.set_role(address, Role(role)))
    _tell(whose, f"{whose.shown} is an administrator now.", in_json=as_json, role=role)


@click.command(epilog=examples("mailctl user revoke alice admin"))
@click.argument("address")
@_ROLE
@as_json
@pass_place
def revoke(place: Place, address: str, role: str, *, as_json: bool) -> None:
    """Make an administrator a user again; the last one stays."""
    del role
    from mailsvc.model.account import Role

    whose = place.talk(lambda client: client.users.set_role(address, Role.USER))
    _tell(whose, f"{whose.shown} is no administrator any more.", in_json=as_json, role="user")


_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(epilog=examples("mailctl user export alice alice.mbox"))
@click.argument("address")
@click.argument("file", type=_FILE)
@as_json
@pass_place
def export(place: Place, address: str, file: Path, *, as_json: bool) -> None:
    """
    Write all mail of an account into a new mbox FILE, which most mail programs read.

    Messages of other folders than the inbox have a field X-Mailsvc-Folder.
    """
    found = place.talk(lambda client: client.users.show(address))
    saved = place.talk(lambda client: _save(client, found.address, file))
    text = f"Saved {count(saved, 'message', 'messages')} of {found.address.shown} in {file}."
    _tell(found.address, text, in_json=as_json, messages=saved, file=str(file))


@click.command(
    epilog=examples(
        "mailctl user delete alice",
        "mailctl user delete alice --keep-mail alice.mbox",
        "mailctl user delete bob@example.com --yes",
    )
)
@click.argument("address")
@click.option("--keep-mail", type=_FILE, metavar="FILE", help="Save the mail in an mbox first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@pass_place
def delete(place: Place, address: str, *, keep_mail: Path | None, yes: bool, as_json: bool) -> None:
    """
    Delete an account with all its mail, for good.

    With --keep-mail the account is disabled, its mail is written into a new mbox file, and
    the account goes when the file is safe on the disk and nothing is missing in it.
    """
    if not yes:
        _confirm(place, address, keep_mail)
    if keep_mail is None:
        gone: Address = place.talk(lambda client: client.users.delete(address))
        _tell(
            gone, f"Deleted the account {gone.shown} and its mail.", in_json=as_json, deleted=True
        )
        return
    gone, saved = place.talk(lambda client: _save_and_delete(client, address, keep_mail))
    text = f"Saved {count(saved, 'message', 'messages')} in {keep_mail}.\n"
    click.echo(clean(text.strip()), err=as_json)
    file = str(keep_mail)
    _tell(gone, f"Deleted the account {gone.shown}.", in_json=as_json, deleted=True, file=file)


def _confirm(place: Place, address: str, keep_mail: Path | None) -> None:
    if not place.doors.interactive():
        raise click.UsageError("there is no terminal to ask on: say --yes to delete all the same")
    mail = (
        "and all its mail" if keep_mail is None else f"when its mail is in {clean(str(keep_mail))}"
    )
    text = f"Delete {clean(address)} {mail}? This cannot be undone."
    click.confirm(text, abort=True, err=True)


async def _save(client: "ControlClient", address: "Address", file: Path) -> int:
    from mailsvc.cli.backup import new_file, save_account

    with new_file(file) as mbox:
        return await save_account(client, address, mbox)


async def _save_and_delete(
    client: "ControlClient", address: str, file: Path
) -> "tuple[Address, int]":
    """Save, then delete; an account that cannot go is as it was before."""
    from mailsvc.model.account import Switch
    from mailsvc.model.user import UserSwitch

    found = await client.users.show(address)
    whose = str(found.address)

    async def switch(*, on: bool) -> None:
        asked = UserSwitch(address=whose, switch=Switch.ENABLED, on=on)
        await client.users.switch(asked)

    if found.enabled:
        # Nothing may come in that is not saved.
        await switch(on=False)
    try:
        saved = await _save(client, found.address, file)
        return await client.users.delete(whose, saved), saved
    except BaseException:
        if found.enabled:
            await switch(on=True)
        raise


def _tell(whose: "Address", text: str, *, in_json: bool, **more: Any) -> None:
    if in_json:
        show_json({"address": str(whose), **more})
    else:
        click.echo(clean(text))
