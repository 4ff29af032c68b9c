"""Take down what happens, without making anybody wait for the database."""

from typing import Any

from twisted.logger import Logger

from mailsvc.model.story import Handling, Happening
from mailsvc.service.rounds import Rounds
from mailsvc.store.database import Database
from mailsvc.store.stories import StoryValues, write_stories

EVERY = 1.0
"""Seconds that a row may wait."""
BATCH = 1000
"""Rows in one transaction; so many do not wait for their second."""
MOST_WAITING = 50_000
"""Rows that wait while the database does not answer; more are counted, and lost."""


class Chronicle(Rounds):
    """
    Writes rows of the trail that belong to no transaction, some hundred at once.

    Args:
        database: Where they go.
        clock: Tells when to write.
    """

    every, title = EVERY, "writing the trail"
    handled: list[Handling]
    """What users did with messages: appended to, and emptied once a second."""
    _log = Logger()

    def __init__(self, database: Database, clock: Any) -> None:
        super().__init__(clock)
        self._database = database
        self._waiting: list[StoryValues] = []
        self.handled = []
        self._lost = 0

    def note(self, happening: Happening) -> None:
        """Take one down; never waits, never fails."""
        if self.handled:
            self._take_handled()  # they came before it
        waiting = self._waiting
        if len(waiting) >= MOST_WAITING:
            self._lost += 1
            return
        waiting.append((self._database.ids.next(), *happening))
        if len(waiting) == BATCH:
            self.wake()

    async def last(self) -> None:
        """Write the last ones, and those that come meanwhile."""
        left = MOST_WAITING
        while self._waiting or self.handled:
            await self.round()
            if len(self._waiting) >= left:
                break  # The database does not answer.
            left = len(self._waiting)

    async def round(self) -> None:
        """Write what waits now; what comes meanwhile, or cannot be written, waits on."""
        self._take_handled()
        left = len(self._waiting)
        try:
            while left > 0:
                some = tuple(self._waiting[: min(left, BATCH)])
                await self._database.write(write_stories, some)
                del self._waiting[: len(some)]
                left -= len(some)
        except Exception as error:  # noqa: BLE001 - tried again in a second
            self._log.warn("the trail could not be written: {error}", error=str(error))
        if self._lost:
            self._log.error("{lost} events are missing in the trail", lost=self._lost)
            self._lost = 0

    def _tick(self) -> None:
        """Give them their time each second, also while a slow write is under way."""
        self._take_handled()
        super()._tick()

    def _take_handled(self) -> None:
        """Give rows to what users did with messages: at the rate of RETR each costs too much."""
        some = self.handled[: MOST_WAITING - len(self._waiting)]
        del self.handled[: len(some)]
        self._lost += len(self.handled[MOST_WAITING:])
        del self.handled[MOST_WAITING:]
        numbers = self._database.ids.many(len(some)) if some else ()
        self._waiting += [
            (number, event, client, account, "", address, message, None, "", "")
            for number, (event, client, account, address, message) in zip(
                numbers, some, strict=True
            )
        ]
