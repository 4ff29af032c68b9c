"""Answers about filters."""

from mailsvc.control.answers.base import Answers, Asked
from mailsvc.control.boxes import build
from mailsvc.control.commands.filters import FilterAdd, FilterList, FilterRemove, FilterTest
from mailsvc.model.page import Page
from mailsvc.model.rule import NewRule, Rule


async def add(asked: Asked) -> Rule:
    """Add a rule."""
    return await asked.administration.filters.add(build(NewRule, asked.values), by=asked.by)


async def list_(asked: Asked) -> Page[Rule]:
    """List rules, as many as fit."""
    return await asked.administration.filters.list(*asked.page)


async def remove(asked: Asked) -> None:
    """Remove a rule."""
    await asked.administration.filters.remove(asked["number"], by=asked.by)


async def test(asked: Asked) -> dict[str, object]:
    """Tell what the rules say."""
    return {"tests": await asked.administration.filters.test(asked["address"], asked["ip"])}


ANSWERS: Answers = {FilterAdd: add, FilterList: list_, FilterRemove: remove, FilterTest: test}
