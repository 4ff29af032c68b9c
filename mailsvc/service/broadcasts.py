"""Deliver broadcasts, a few hundred mailboxes at a time, until each has its end."""

from typing import Any

from twisted.logger import Logger

from mailsvc.service.rounds import Rounds
from mailsvc.store.broadcasts import BroadcastStep, unfinished
from mailsvc.store.database import Database
from mailsvc.store.notices import WriteNotice

EVERY = 30.0
"""Seconds between two looks for what another daemon left, or what failed."""


class Broadcaster(Rounds):
    """
    Goes on with every broadcast that has not ended: when one begins, and at its own start.

    Args:
        database: Where they are.
        clock: Tells when to look.
        write_notice: Makes the content of a notice to an owner; on a writer's thread.
    """

    every, at_once, title = EVERY, True, "delivering broadcasts"
    _log = Logger()

    def __init__(self, database: Database, clock: Any, write_notice: WriteNotice) -> None:
        super().__init__(clock)
        self._database = database
        self._step = BroadcastStep(database.ids, write_notice)

    async def round(self) -> None:
        """Go on with all of them; the next start goes on behind the transaction under way."""
        for number in await self._database.run(unfinished):
            await self._deliver(number)

    async def _deliver(self, number: int) -> None:
        while self.running and await self._database.write(self._step, number):
            pass
        if self.running:
            self._log.info("broadcast {number} is delivered", number=number)
