"""Answers about the trail."""

from mailsvc.control.answers.base import Answers, Asked
from mailsvc.control.boxes import build
from mailsvc.control.commands.trail import TrailSearch, TrailTrace
from mailsvc.model.page import Page
from mailsvc.model.story import StoryFilter, StoryRow


async def search(asked: Asked) -> Page[StoryRow]:
    """List rows, as many as fit."""
    only = build(StoryFilter, asked.values)
    return await asked.administration.trail.search(*asked.page, only)


async def trace(asked: Asked) -> Page[StoryRow]:
    """Tell the story of a message, as much as fits."""
    return await asked.administration.trail.trace(asked["message"], *asked.page)


ANSWERS: Answers = {TrailSearch: search, TrailTrace: trace}
