"""What has to be done every few seconds: purge, note logins, give a sign of life."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailsvc.model.account import Account
from mailsvc.model.ids import AccountId
from mailsvc.service.rounds import Rounds
from mailsvc.store.accounts import note_logins
from mailsvc.store.database import Database
from mailsvc.store.nodes import beat
from mailsvc.store.removal import PURGE, SHRINK, empty_log, purge_bodies, shrink_file

EVERY = 5.0
"""Seconds between two rounds."""


class Upkeep(Rounds):
    """
    Keeps the database in order while the service runs.

    Args:
        database: What is kept.
        clock: Tells when.
        alive: Number and owner of this node.
        has_room: Whether the disk has room.
    """

    every, title = EVERY, "upkeep"
    _log = Logger()

    def __init__(
        self,
        database: Database,
        clock: IReactorTime,
        alive: Callable[[], tuple[int, int]],
        has_room: Callable[[], bool],
    ) -> None:
        super().__init__(clock)
        self._database = database
        self._clock = clock
        self._has_room = has_room
        self._alive = alive
        self._logins: dict[AccountId, datetime] = {}

    def logged_in(self, account: Account) -> None:
        """Note a login; written at the next round, many in one row each."""
        self._logins[account.id] = datetime.now(UTC)

    async def last(self) -> None:
        """Note the last logins, so that none is forgotten."""
        await self._try_one("noting the last logins", self._note_logins)

    async def round(self) -> None:
        """Do everything once; what fails is tried again in the next round."""
        await self._try_one("noting logins", self._note_logins)
        await self._try_one("a sign of life", self._beat)
        await self._try_one("emptying the log", self._empty_log)
        await self._try_one("purging bodies", self._purge)
        await self._try_one("giving room back", self._give_room_back)

    async def _try_one(self, name: str, work: Callable[[], Awaitable[Any]]) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - the next round tries again
            self._log.warn("{name} failed: {error}", name=name, error=str(error))

    async def _note_logins(self) -> None:
        logins, self._logins = self._logins, {}
        if logins:
            await self._database.write(note_logins, tuple(logins.items()))

    async def _beat(self) -> None:
        if not await self._database.write(beat, *self._alive()):
            self._log.error("this node was silent for so long that its number was given away")

    async def _purge(self) -> None:
        end = self._end_of_round()
        while await self._database.write(purge_bodies) == PURGE and self._clock.seconds() < end:
            pass

    async def _empty_log(self) -> None:
        """Let the purge have what the log keeps; only when the disk is short."""
        if not self._has_room():
            await self._database.run(empty_log)

    async def _give_room_back(self) -> None:
        """Shrink the database file; only when the disk is short, for mail reuses its pages."""
        if self._has_room():
            return
        end = self._end_of_round()
        while await self._database.write(shrink_file) >= SHRINK and self._clock.seconds() < end:
            pass
        await self._database.run(empty_log)

    def _end_of_round(self) -> float:
        """Tell when long work must pause: a node that gives no sign of life is given up."""
        return self._clock.seconds() + EVERY
