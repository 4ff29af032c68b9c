"""Answers about open sessions."""

from mailsvc.control.answers.base import Answers, Asked
from mailsvc.control.boxes import build
from mailsvc.control.commands.sessions import SessionEnd, SessionList
from mailsvc.model.page import Page
from mailsvc.model.session import SessionFilter, SessionState


async def list_(asked: Asked) -> Page[SessionState]:
    """List sessions, as many as fit."""
    only = build(SessionFilter, asked.values)
    return await asked.administration.sessions.list(*asked.page, only)


async def end(asked: Asked) -> dict[str, object]:
    """End sessions."""
    only = build(SessionFilter, asked.values)
    return {"ended": await asked.administration.sessions.end(only, by=asked.by)}


ANSWERS: Answers = {SessionEnd: end, SessionList: list_}
