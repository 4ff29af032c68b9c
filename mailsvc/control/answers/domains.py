"""Answers about domains."""

from mailsvc.control.answers.base import Answers, Asked
from mailsvc.control.boxes import build
from mailsvc.control.commands.domains import (
    DomainAdd,
    DomainList,
    DomainRemove,
    DomainSet,
    DomainShow,
    DomainSwitch,
)
from mailsvc.model.domain import DomainChange, DomainSummary, Saved
from mailsvc.model.page import Page


async def add(asked: Asked) -> DomainSummary:
    """Make a domain ours."""
    return await asked.administration.domains.add(asked["name"], by=asked.by)


async def list_(asked: Asked) -> Page[DomainSummary]:
    """List domains, as many as fit."""
    return await asked.administration.domains.list(*asked.page)


async def show(asked: Asked) -> DomainSummary:
    """Look one up."""
    return await asked.administration.domains.show(asked["name"])


async def switch(asked: Asked) -> DomainSummary:
    """Enable or disable one."""
    domains = asked.administration.domains
    return await domains.switch(asked["name"], enabled=asked["enabled"], by=asked.by)


async def set_(asked: Asked) -> DomainSummary:
    """Change quotas and catch-all."""
    return await asked.administration.domains.set(build(DomainChange, asked.values), by=asked.by)


async def remove(asked: Asked) -> dict[str, object]:
    """Remove one."""
    saved = None
    if asked["accounts"] is not None:
        saved = Saved(
            accounts=asked["accounts"],
            aliases=asked["aliases"] or 0,
            messages=asked["messages"] or 0,
        )
    return {"name": await asked.administration.domains.remove(asked["name"], saved, by=asked.by)}


ANSWERS: Answers = {
    DomainAdd: add,
    DomainList: list_,
    DomainShow: show,
    DomainSwitch: switch,
    DomainSet: set_,
    DomainRemove: remove,
}
