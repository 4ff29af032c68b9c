"""The client's commands about settings."""

from mailsvc.control.boxes import build
from mailsvc.control.client.connection import ControlConnection
from mailsvc.control.commands.settings import SettingsList, SettingsReset, SettingsSet
from mailsvc.model.page import LARGEST_PAGE, Page
from mailsvc.model.setting import SettingState


class SettingsClient:
    """
    Settings; errors as in ``ControlClient``.

    Args:
        line: To the daemon.
    """

    def __init__(self, line: ControlConnection) -> None:
        self._line = line

    async def set(self, name: str, value: str) -> SettingState:
        """
        Change a setting, now and for all starts to come.

        Args:
            name: Its path in config.yaml, with dots.
            value: As config.yaml has it: YAML.
        """
        return build(SettingState, await self._line.ask(SettingsSet, name=name, value=value))

    async def reset(self, name: str) -> int:
        """Let config.yaml count again, for a setting or a section; tells how many changes went."""
        count: int = (await self._line.ask(SettingsReset, name=name))["count"]
        return count

    async def list(
        self, section: str = "", after: str = "", most: int = LARGEST_PAGE
    ) -> Page[SettingState]:
        """List settings, or those of a section, a page at a time."""
        return await self._line.page(SettingsList, after, most, section=section)
