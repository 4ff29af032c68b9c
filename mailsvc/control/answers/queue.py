"""Answers about mail that waits for other servers."""

from mailsvc.control.answers.base import Answers, Asked
from mailsvc.control.boxes import build
from mailsvc.control.commands.queue import QueueAttempts, QueueChanged, QueueList
from mailsvc.model.page import Page
from mailsvc.model.waiting import Attempt, Pick, QueueChange, Waiting


async def list_(asked: Asked) -> Page[Waiting]:
    """List what waits, as much as fits."""
    return await asked.administration.queue.list(*asked.page, build(Pick, asked.values))


async def attempts(asked: Asked) -> Page[Attempt]:
    """List attempts, as many as fit."""
    return await asked.administration.queue.attempts(asked["message"], *asked.page)


async def change(asked: Asked) -> QueueChange:
    """Do something with what waits."""
    pick = build(Pick, asked.values)
    return await asked.administration.queue.change(asked["action"], pick, by=asked.by)


ANSWERS: Answers = {QueueAttempts: attempts, QueueChanged: change, QueueList: list_}
