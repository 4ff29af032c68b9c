"""``mailctl settings``: what the daemon goes by, changed while it runs."""

import json
from typing import TYPE_CHECKING, Any

import click

from mailsvc.cli.output import Column, clean, count, show_json, show_table
from mailsvc.cli.place import Place, all_rows, as_json, examples, pass_place

if TYPE_CHECKING:  # see place.py
    from mailsvc.control.client import ControlClient
    from mailsvc.model.setting import SettingState

_COLUMNS = (Column("Setting"), Column("Value"), Column("From"))


@click.group()
def settings() -> None:
    """
    Look at the settings, and change them while the daemon runs.

    A setting has the name that it has in config.yaml, with dots: smtp.largest_message. A
    change counts at once, on all nodes, in open sessions and after the next start, whatever
    config.yaml says, until it is taken back with "reset".
    """


@settings.command(
    "list",
    epilog=examples(
        "mailctl settings list",
        "mailctl settings list smtp",
        "mailctl settings list --changed",
    ),
)
@click.argument("section", default="")
@click.option("--changed", is_flag=True, help="Only what was changed with mailctl.")
@as_json
@pass_place
def list_(place: Place, *, section: str, changed: bool, as_json: bool) -> None:
    """List the settings in force and where each comes from."""
    found = place.talk(lambda client: _every(client, section))
    shown = [one for one in found if one.origin.value == "mailctl" or not changed]
    if as_json:
        show_json([_json_of(one) for one in shown])
        return
    if not shown:
        click.echo("Nothing was changed: all settings are those of config.yaml.")
        return
    show_table(_COLUMNS, [[one.name, _text(one.value), one.origin.value] for one in shown])
    for one in shown:
        if one.left_out:
            told = clean(one.left_out)
            click.echo(f"{one.name} was changed and is left out, for it does not fit: {told}")


@settings.command(
    epilog=examples("mailctl settings get smtp.largest_message", "mailctl settings get listeners")
)
@click.argument("name")
@as_json
@pass_place
def get(place: Place, *, name: str, as_json: bool) -> None:
    """
    Print the value of a setting alone; of a section all of them.

    With --json you see where it comes from, too.
    """
    found = place.talk(lambda client: _every(client, name))
    if as_json:
        show_json([_json_of(one) for one in found])
    elif [one.name for one in found] == [name]:
        click.echo(clean(_text(found[0].value)))
    else:
        for one in found:
            click.echo(clean(f"{one.name}: {_text(one.value)}"))


@settings.command(
    "set",
    # A value such as -3 is no option.
    context_settings={"ignore_unknown_options": True},
    epilog=examples(
        "mailctl settings set smtp.largest_message 50MiB",
        "mailctl settings set listeners.pop3.port 110",
        "mailctl settings set listeners.lan '{kind: smtp, address: 192.0.2.1, port: 25}'",
        "mailctl settings set limits.client_messages null",
    ),
)
@click.argument("name")
@click.argument("value")
@as_json
@pass_place
def set_(place: Place, *, name: str, value: str, as_json: bool) -> None:
    """
    Change a setting; the value is written as in config.yaml.

    A listener that gets another port or address keeps its open sessions; when the new place
    cannot be opened, it stays where it is. A whole new listener, or filter, is set at once.
    """
    done = place.talk(lambda client: client.settings.set(name, value))
    if as_json:
        show_json(_json_of(done))
        return
    before = f" (config.yaml: {_text(done.without)})" if done.without else ""
    click.echo(clean(f"{done.name} is {_text(done.value)}{before}."))


@settings.command(
    epilog=examples("mailctl settings reset smtp.largest_message", "mailctl settings reset limits")
)
@click.argument("name")
@as_json
@pass_place
def reset(place: Place, *, name: str, as_json: bool) -> None:
    """Take back the changes of a setting, or of a whole section: config.yaml counts again."""
    done = place.talk(lambda client: client.settings.reset(name))
    if as_json:
        show_json({"name": name, "changes": done})
    else:
        changes = count(done, "change was", "changes were")
        click.echo(f"{changes} taken back: {clean(name)} is as config.yaml says.")


async def _every(client: "ControlClient", section: str) -> "list[SettingState]":
    return await all_rows(lambda after: client.settings.list(section, after))


def _text(value: str) -> str:
    """Write a value for people: text without quotes, the rest as config.yaml may have it."""
    read = json.loads(value)
    return read if isinstance(read, str) and read else value


def _json_of(one: "SettingState") -> dict[str, Any]:
    return {
        "name": one.name,
        "value": json.loads(one.value),
        "from": one.origin.value,
        "without_change": json.loads(one.without) if one.without else None,
        "changeable": one.live,
        "changed_by": one.by or None,
        "changed": None if one.changed is None else one.changed.isoformat(),
        "left_out": one.left_out or None,
    }
