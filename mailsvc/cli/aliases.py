"""``mailctl alias``, ``group`` and ``forward``: addresses that lead elsewhere."""

from typing import TYPE_CHECKING, Any

import click

from mailsvc.cli.output import Column, clean, count, show_json, show_table
from mailsvc.cli.place import Place, all_rows, as_json, examples, pass_place

if TYPE_CHECKING:  # see place.py
    from mailsvc.model.address import Address
    from mailsvc.model.alias import AliasSummary

_MOST_SHOWN = 3
"""Targets in a line of a list."""


@click.group()
def alias() -> None:
    """
    Other names of mailboxes.

    Mail for an alias goes to its TARGET: an account, an alias or a group. The user of the
    account that it leads to may also send with it. An address without @ belongs to the first
    domain.
    """


@alias.command(
    epilog=examples("mailctl alias add info alice", "mailctl alias add sales@example.com bob")
)
@click.argument("address")
@click.argument("target")
@as_json
@pass_place
def add(place: Place, address: str, target: str, *, as_json: bool) -> None:
    """Make an alias."""
    _make(place, "alias", (address, target), in_json=as_json)


@click.group()
def group() -> None:
    """
    Addresses whose mail goes to all members.

    Members are accounts, aliases or other groups; each mailbox gets a message once. Nobody
    sends with the address of a group. An address without @ belongs to the first domain.
    """


@group.command(
    "add", epilog=examples("mailctl group add team alice bob", "mailctl group add all@example.com")
)
@click.argument("address")
@click.argument("members", metavar="[MEMBER]...", nargs=-1)
@as_json
@pass_place
def add_group(place: Place, address: str, members: tuple[str, ...], *, as_json: bool) -> None:
    """Make a group; mail for one without members is refused."""
    _make(place, "group", (address, *members), in_json=as_json)


@group.group()
def member() -> None:
    """Add and remove members of a group."""


@member.command("add", epilog=examples("mailctl group member add team carol dave"))
@click.argument("address")
@click.argument("members", metavar="MEMBER...", nargs=-1, required=True)
@as_json
@pass_place
def add_member(place: Place, address: str, members: tuple[str, ...], *, as_json: bool) -> None:
    """Add members; all or none."""
    changed = place.talk(lambda client: client.aliases.add_members(address, members))
    _tell_members(changed, in_json=as_json)


@member.command("remove", epilog=examples("mailctl group member remove team carol"))
@click.argument("address")
@click.argument("members", metavar="MEMBER...", nargs=-1, required=True)
@as_json
@pass_place
def remove_member(place: Place, address: str, members: tuple[str, ...], *, as_json: bool) -> None:
    """Take members out; all or none."""
    changed = place.talk(lambda client: client.aliases.remove_members(address, members))
    _tell_members(changed, in_json=as_json)


def _tell_members(changed: "AliasSummary", *, in_json: bool) -> None:
    members = count(len(changed.targets), "member", "members")
    _tell(changed, f"The group {changed.address.shown} has {members}.", in_json=in_json)


@click.group()
def forward() -> None:
    """
    Send the mail of an account on.

    With --keep the account has a copy. The targets are accounts, aliases or groups of this
    service. An address without @ belongs to the first domain.
    """


@forward.command(
    "set",
    epilog=examples(
        "mailctl forward set alice bob --keep", "mailctl forward set alice bob carol@example.com"
    ),
)
@click.argument("address")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@click.option(
    "--keep/--no-keep",
    default=None,
    help="Whether the account has a copy; without it: when its address is one of the targets.",
)
@as_json
@pass_place
def set_(place: Place, /, **options: Any) -> None:
    """Say where the mail of an account goes, instead of what was said before."""
    address, targets, keep = options["address"], options["targets"], options["keep"]
    if keep:
        targets = (address, *targets)
    elif keep is False:
        targets = tuple(target for target in targets if target.lower() != address.lower())
    _make(place, "forward", (address, *targets), in_json=options["as_json"])


def _make(place: Place, word: str, addresses: tuple[str, ...], *, in_json: bool) -> None:
    from mailsvc.model.alias import AliasKind, NewAlias

    new = NewAlias(AliasKind(word), addresses[0], addresses[1:])
    made = place.talk(lambda client: client.aliases.set(new))
    _tell(made, _made(made), in_json=in_json)


def _made(made: "AliasSummary") -> str:
    shown = made.address.shown
    if made.kind == "group":
        return f"Made the group {shown} with {count(len(made.targets), 'member', 'members')}."
    others = [target.shown for target in made.targets if target.key != made.address.key]
    if made.kind == "alias":
        return f"Made the alias {shown}: its mail goes to {others[0]}."
    copy = "; it keeps a copy" if made.keeps else "; it keeps no copy"
    return f"The mail of {shown} goes to {', '.join(others)}{copy}."


def _tell(one: "AliasSummary", text: str, *, in_json: bool) -> None:
    if in_json:
        show_json(_json(one))
    else:
        click.echo(clean(text))


def _json(one: "AliasSummary") -> dict[str, Any]:
    return {
        "address": str(one.address),
        "kind": one.kind.value,
        "targets": [str(target) for target in one.targets],
        "enabled": one.enabled,
        "created": one.created.isoformat(),
    }


def _shown(one: "AliasSummary") -> list[str]:
    """Write the targets; the own address of a forward is a copy."""
    return [
        "its own mailbox" if target.key == one.address.key else target.shown
        for target in one.targets
    ]


def _row(one: "AliasSummary") -> list[str]:
    shown = _shown(one)[:_MOST_SHOWN]
    more = len(one.targets) - len(shown)
    targets = ", ".join(shown) + (f" and {more} more" if more else "")
    return [one.address.shown, "enabled" if one.enabled else "disabled", targets]


def _add_looks(parent: click.Group, word: str, leads_to: str) -> None:
    """Add the commands that look at one kind."""
    columns = (Column("Address"), Column("State"), Column(leads_to))

    @parent.command(
        "list",
        help=f"List all {_plural(word)}.",
        epilog=examples(f"mailctl {word} list"),
    )
    @as_json
    @pass_place
    def list_(place: Place, *, as_json: bool) -> None:
        from mailsvc.model.alias import AliasKind

        kind = AliasKind(word)
        found = place.talk(lambda client: all_rows(lambda after: client.aliases.list(kind, after)))
        if as_json:
            show_json([_json(one) for one in found])
        else:
            show_table(columns, [_row(one) for one in found])

    @parent.command(
        "show",
        help=f"Show one of the {_plural(word)} with all it leads to.",
        epilog=examples(f"mailctl {word} show {_NAMES[word]}"),
    )
    @click.argument("address")
    @as_json
    @pass_place
    def show(place: Place, address: str, *, as_json: bool) -> None:
        from mailsvc.model.alias import AliasKind

        found = place.talk(lambda client: client.aliases.show(AliasKind(word), address))
        if as_json:
            show_json(_json(found))
            return
        state = "enabled" if found.enabled else "disabled"
        click.echo(clean(f"{found.address.shown}: {word}, {state}, leads to"))
        for target in _shown(found):
            click.echo(f"  {clean(target)}")


def _add_changes(parent: click.Group, word: str) -> None:
    """Add the commands that change one of a kind."""

    @parent.command(
        "enable",
        help=f"Enable one of the {_plural(word)} again.",
        epilog=examples(f"mailctl {word} enable {_NAMES[word]}"),
    )
    @click.argument("address")
    @as_json
    @pass_place
    def enable(place: Place, address: str, *, as_json: bool) -> None:
        _switch(place, word, address, enabled=True, in_json=as_json)

    @parent.command(
        "disable",
        help=_DISABLE[word],
        epilog=examples(f"mailctl {word} disable {_NAMES[word]}"),
    )
    @click.argument("address")
    @as_json
    @pass_place
    def disable(place: Place, address: str, *, as_json: bool) -> None:
        _switch(place, word, address, enabled=False, in_json=as_json)

    @parent.command(
        "remove",
        help=f"Remove one of the {_plural(word)}; no mail is lost.",
        epilog=examples(f"mailctl {word} remove {_NAMES[word]}"),
    )
    @click.argument("address")
    @as_json
    @pass_place
    def remove(place: Place, address: str, *, as_json: bool) -> None:
        from mailsvc.model.alias import AliasKind

        gone: Address = place.talk(lambda client: client.aliases.remove(AliasKind(word), address))
        if as_json:
            show_json({"address": str(gone), "removed": True})
        else:
            click.echo(clean(f"Removed the {word} {gone.shown}."))


def _plural(word: str) -> str:
    return "aliases" if word == "alias" else f"{word}s"


def _switch(place: Place, word: str, address: str, *, enabled: bool, in_json: bool) -> None:
    from mailsvc.model.alias import AliasKind

    kind = AliasKind(word)
    changed = place.talk(lambda client: client.aliases.switch(kind, address, enabled=enabled))
    state = "enabled" if enabled else "disabled"
    _tell(changed, f"The {word} {changed.address.shown} is {state}.", in_json=in_json)


_NAMES = {"alias": "info", "group": "team", "forward": "alice"}
"""For examples."""
_DISABLE = {
    "alias": "Refuse mail for an alias until it is enabled.",
    "group": "Refuse mail for a group until it is enabled.",
    "forward": "Leave the mail with the account until the forward is enabled.",
}

for _group, _word, _title in (
    (alias, "alias", "Leads to"),
    (group, "group", "Members"),
    (forward, "forward", "Goes to"),
):
    _add_looks(_group, _word, _title)
    _add_changes(_group, _word)
