"""What the daemon goes by: looked at, and changed while it runs."""

import json
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from mailsvc.admin.office import Office
from mailsvc.admin.rules import checked_page
from mailsvc.config.changes import (
    FIXED,
    changed_path,
    hidden,
    is_below,
    laid_over,
    leaves,
    value_at,
)
from mailsvc.config.load import parse_value
from mailsvc.config.settings import Settings
from mailsvc.errors import CommandError, ConfigError, NotFound
from mailsvc.interfaces import ILiveSettings
from mailsvc.model.page import Page, page_of
from mailsvc.model.setting import Origin, SettingState
from mailsvc.store.settings import (
    CONFIG,
    Changed,
    forget_setting,
    read_settings,
    replace_setting,
    who_changed,
)
from mailsvc.store.trail import Record

_LONGEST = 4000
"""Characters of a value."""


class SettingsDesk:
    """
    Shows and changes settings; errors as in ``Administration``.

    Args:
        office: Where changes are made.
        live: Has the settings in force.
    """

    def __init__(self, office: Office, live: ILiveSettings) -> None:
        self._office = office
        self._live = live

    async def list(self, section: str, after: str, most: int) -> Page[SettingState]:
        """
        List settings, in the order of config.yaml, a page at a time.

        Args:
            section: Only what begins so; empty: all.
            after: The name after which the page begins.
            most: Of one page.

        Raises:
            NotFound: There is nothing of that name.
        """
        most = checked_page(most)
        found = [one for one in await self._states() if not section or is_below(one.name, section)]
        if not found:
            raise NotFound(f"there is no setting {section}; see: mailctl settings list")
        names = [one.name for one in found]
        start = names.index(after) + 1 if after in names else 0
        return page_of(found[start : start + most + 1], most, lambda one: one.name)

    async def set(self, name: str, text: str, *, by: str) -> SettingState:
        """
        Change a setting, now and for all starts to come, on all nodes.

        Args:
            name: Its path.
            text: Its value as config.yaml would have it.

        Raises:
            CommandError: It cannot be so; nothing has changed.
        """
        if len(text) > _LONGEST:
            raise CommandError(f"a value has {_LONGEST} characters at most")
        try:
            value = parse_value(text)
            changed_path(name, self._live.current)
        except ConfigError as error:
            raise CommandError(str(error)) from None
        async with self._live.lock:
            changes = await self._changes()
            kept = self._without(changes, name)
            settings = _checked(self._live.file, {**kept, name: value})
            written = value_at(settings, name)
            record = Record(
                by, "settings set", {"name": name, "value": json.dumps(hidden(name, written))}
            )
            async with self._live.trying(settings):
                await self._office.change(record, replace_setting, CONFIG + name, written, by)
        return await self._state(name)

    async def reset(self, name: str, *, by: str) -> int:
        """
        Take back what was changed of a setting, or in a section: config.yaml counts again.

        Returns:
            How many changes there were.

        Raises:
            NotFound: Nothing of it was changed.
            CommandError: config.yaml cannot count again, for a port is taken.
        """
        async with self._live.lock:
            changes = await self._changes()
            count = sum(is_below(path, name) for path in changes)
            if not count:
                raise NotFound(f"nothing was changed of {name}; see: mailctl settings list")
            settings = _checked(self._live.file, self._without(changes, name))
            record = Record(by, "settings reset", {"name": name})
            async with self._live.trying(settings):
                await self._office.change(record, forget_setting, CONFIG + name)
        return count

    async def _changes(self) -> dict[str, Any]:
        """Give the changes in the database by path."""
        rows = await self._office.database.run(read_settings)
        return {
            name.removeprefix(CONFIG): value
            for name, value in rows.items()
            if name.startswith(CONFIG)
        }

    def _without(self, changes: dict[str, Any], name: str) -> dict[str, Any]:
        """Leave out what is below a name, and what does not fit config.yaml any more."""
        out = self._live.left_out
        return {
            path: value
            for path, value in changes.items()
            if not is_below(path, name) and path not in out
        }

    async def _state(self, name: str) -> SettingState:
        """Give one setting; what is a section is given as one value."""
        found = {one.name: one for one in await self._states()}
        value = hidden(name, value_at(self._live.current, name))
        return found.get(name) or SettingState(name, _json(value), Origin.CHANGED)

    async def _states(self) -> Sequence[SettingState]:
        live = self._live
        changed = await self._office.database.run(who_changed, CONFIG)
        now, file, default = leaves(live.current), leaves(live.file), leaves(Settings())
        by_path = {name.removeprefix(CONFIG): one for name, one in changed.items()}
        states = [_state(name, now, file, default, by_path) for name in now]
        left_out = live.left_out.items()
        unfit = [SettingState(path, "null", Origin.CHANGED, left_out=why) for path, why in left_out]
        return states + unfit


def _checked(file: Settings, changes: dict[str, Any]) -> Settings:
    try:
        return laid_over(file, changes)
    except ConfigError as error:
        raise CommandError(str(error)) from None


def _state(
    name: str,
    now: dict[str, Any],
    file: dict[str, Any],
    default: dict[str, Any],
    changed: dict[str, Changed],
) -> SettingState:
    who = next((one for path, one in changed.items() if is_below(name, path)), None)
    fixed = name.partition(".")[0] in FIXED
    if who is not None:
        without = _json(file[name]) if name in file else ""
        origin = Origin.CHANGED
        return SettingState(
            name, _json(now[name]), origin, without, by=who.by, changed=who.at.replace(tzinfo=UTC)
        )
    same = name in default and default[name] == file.get(name, default[name])
    origin = Origin.DEFAULT if same else Origin.FILE
    return SettingState(name, _json(now[name]), origin, live=not fixed)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
