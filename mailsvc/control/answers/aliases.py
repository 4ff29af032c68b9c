"""Answers about aliases, groups and forwards."""

from mailsvc.control.answers.base import Answers, Asked
from mailsvc.control.boxes import build
from mailsvc.control.commands.aliases import (
    AliasList,
    AliasRemove,
    AliasSet,
    AliasShow,
    AliasSwitch,
    GroupMemberAdd,
    GroupMemberRemove,
)
from mailsvc.model.alias import AliasSummary, NewAlias
from mailsvc.model.page import Page


async def set_(asked: Asked) -> AliasSummary:
    """Make an alias or a group, or set a forward."""
    return await asked.administration.aliases.set(build(NewAlias, asked.values), by=asked.by)


async def list_(asked: Asked) -> Page[AliasSummary]:
    """List those of one kind, as many as fit."""
    return await asked.administration.aliases.list(asked["kind"], *asked.page)


async def show(asked: Asked) -> AliasSummary:
    """Look one up."""
    return await asked.administration.aliases.show(asked["kind"], asked["address"])


async def switch(asked: Asked) -> AliasSummary:
    """Enable or disable one."""
    aliases, enabled = asked.administration.aliases, asked["enabled"]
    return await aliases.switch(asked["kind"], asked["address"], enabled=enabled, by=asked.by)


async def remove(asked: Asked) -> dict[str, object]:
    """Remove one."""
    aliases = asked.administration.aliases
    return {"address": await aliases.remove(asked["kind"], asked["address"], by=asked.by)}


async def add_members(asked: Asked) -> AliasSummary:
    """Add members to a group."""
    aliases = asked.administration.aliases
    return await aliases.add_members(asked["address"], asked["members"], by=asked.by)


async def remove_members(asked: Asked) -> AliasSummary:
    """Take members out of a group."""
    aliases = asked.administration.aliases
    return await aliases.remove_members(asked["address"], asked["members"], by=asked.by)


ANSWERS: Answers = {
    AliasSet: set_,
    AliasList: list_,
    AliasShow: show,
    AliasSwitch: switch,
    AliasRemove: remove,
    GroupMemberAdd: add_members,
    GroupMemberRemove: remove_members,
}
