"""The settings in force: those of config.yaml, and what administrators have changed since."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger
from zope.interface import implementer

from mailsvc.config.changes import fitting
from mailsvc.config.settings import Settings
from mailsvc.errors import CommandError, ConfigError, MailError, OperatorError
from mailsvc.interfaces import ILiveSettings, ISwitchboard
from mailsvc.model.switch import switch_of
from mailsvc.service.rounds import Rounds
from mailsvc.store.database import Database
from mailsvc.store.settings import CONFIG, read_settings

EVERY = 2.0
"""Seconds until a change on another node counts here, and how exactly a switch turns."""

_Fitted = tuple[Settings, Mapping[str, str]]
"""What ``fitting`` gives."""
Trying = Callable[[Settings], AbstractAsyncContextManager[None]]
"""Gets something ready for other settings: goes over to them when the block succeeds."""


def _now() -> datetime:
    return datetime.now(UTC)


@implementer(ILiveSettings)
class LiveSettings(Rounds):
    """
    Puts changed settings and switches in force: after each change, and every few seconds.

    Args:
        database: Where changes are.
        clock: Tells when to look.
        file: What config.yaml says.
        now: Tells the time, aware UTC.
    """

    every, title = EVERY, "reading the settings"
    _log = Logger()

    def __init__(
        self,
        database: Database,
        clock: Any,
        file: Settings,
        now: Callable[[], datetime] = _now,
    ) -> None:
        super().__init__(clock)
        self._database = database
        self.floor: ISwitchboard | None = None
        """Opens and closes listeners; they are made with these settings, and so after them."""
        self._now = now
        self.lock = DeferredLock()
        self.file = self.current = file
        self.left_out: Mapping[str, str] = {}
        self.careful: list[Trying] = []
        """Parts that may refuse: each gets ready before any goes over."""
        self.followers: list[Callable[[Settings], None]] = []
        """Told of other settings when they are in force."""
        self._rows: Mapping[str, Any] = {}
        self._adopted: Mapping[str, Any] = {}
        self._told = ""

    def begin(self, rows: Mapping[str, Any]) -> Settings:
        """
        Start from what the database has, before the reactor runs.

        Returns:
            What will be in force as soon as it does.
        """
        fitted = fitting(self.file, _changes(rows))
        self._background.start(self._adopt(rows, fitted), "the first settings")
        return fitted[0]

    @asynccontextmanager
    async def trying(self, settings: Settings) -> AsyncIterator[None]:
        """Put other settings in force when what is done meanwhile succeeds."""
        async with AsyncExitStack() as ready:
            for part in self.careful:
                try:
                    await ready.enter_async_context(part(settings))
                except ConfigError as error:
                    raise CommandError(str(error)) from None
            yield
        self.current = settings
        for follow in self.followers:
            follow(settings)

    async def round(self) -> None:
        """Read what there is, and turn switches whose time has come."""
        async with self.lock:
            try:
                rows = await self._database.run(read_settings)
            except MailError as error:
                self._log.warn("the settings could not be read: {error}", error=str(error))
                rows = dict(self._rows)
            await self._adopt(rows)

    async def _adopt(self, rows: Mapping[str, Any], fitted: _Fitted | None = None) -> None:
        self._rows = rows
        trouble = await self._turn()
        if rows != self._adopted:
            trouble = await self._lay_over(rows, fitted) or await self._turn()
        if trouble and trouble != self._told:
            self._log.error("{trouble}", trouble=trouble)
        self._told = trouble

    async def _lay_over(self, rows: Mapping[str, Any], fitted: _Fitted | None) -> str:
        """Put the changes in force; gives what went wrong, and tries again at the next look."""
        settings, left_out = fitted or fitting(self.file, _changes(rows))
        try:
            if settings != self.current:
                async with self.trying(settings):
                    pass
        except OperatorError as error:
            return f"changed settings are not in force: {error}"
        self._adopted, self.left_out = rows, left_out
        for path, why in left_out.items():
            self._log.error(
                "the changed setting {path} is left out: {why}; mailctl settings reset {path}",
                path=path,
                why=why,
            )
        return ""

    async def _turn(self) -> str:
        """Start and stop what should be otherwise than it is; gives what went wrong."""
        now, trouble = self._now(), ""
        floor = self.floor
        if floor is None:
            return ""
        for state in floor.listeners():
            wanted = switch_of(self._rows, state.name, state.service, now)
            if (wanted.running, wanted.until) != (state.running, state.until):
                try:
                    await floor.switch({state.name: wanted})
                except CommandError as error:
                    trouble = str(error)
        return trouble


def _changes(rows: Mapping[str, Any]) -> dict[str, Any]:
    """Give the changed settings by their paths."""
    return {
        name.removeprefix(CONFIG): value for name, value in rows.items() if name.startswith(CONFIG)
    }
