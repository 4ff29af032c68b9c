"""Answers for whoever saves mail."""

from mailsvc.control.answers.base import Answers, Asked
from mailsvc.control.commands.export import MailList, MailPiece
from mailsvc.model.export import StoredMail
from mailsvc.model.page import Page


async def list_(asked: Asked) -> Page[StoredMail]:
    """List the mail of an account, as much as fits."""
    return await asked.administration.export.list(asked["address"], *asked.page)


async def piece(asked: Asked) -> dict[str, object]:
    """Give some octets of a message."""
    found = await asked.administration.export.read(asked["message"], asked["part"], asked["offset"])
    return {"octets": found}


ANSWERS: Answers = {MailList: list_, MailPiece: piece}
