"""Answers about settings."""

from mailsvc.control.answers.base import Answers, Asked
from mailsvc.control.commands.settings import SettingsList, SettingsReset, SettingsSet
from mailsvc.model.page import Page
from mailsvc.model.setting import SettingState


async def list_(asked: Asked) -> Page[SettingState]:
    """List settings, as many as fit."""
    return await asked.administration.settings.list(asked["section"] or "", *asked.page)


async def set_(asked: Asked) -> SettingState:
    """Change one."""
    return await asked.administration.settings.set(asked["name"], asked["value"], by=asked.by)


async def reset(asked: Asked) -> dict[str, object]:
    """Take changes back."""
    return {"count": await asked.administration.settings.reset(asked["name"], by=asked.by)}


ANSWERS: Answers = {SettingsList: list_, SettingsSet: set_, SettingsReset: reset}
