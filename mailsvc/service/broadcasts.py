"""Deliver broadcasts, a few hundred mailboxes at a time, until each has its end."""

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from mailsvc.background import Background
from mailsvc.interfaces import IContent
from mailsvc.model.quota import QuotaNotice
from mailsvc.store.broadcasts import BroadcastStep, unfinished
from mailsvc.store.database import Database

EVERY = 30.0
"""Seconds between two looks for what another daemon left, or what failed."""


class Broadcaster(Service):
    """
    Goes on with every broadcast that has not ended: when one begins, and at its own start.

    Args:
        database: Where they are.
        clock: Tells when to look.
        write_notice: Makes the content of a notice to an owner; on a writer's thread.
    """

    _log = Logger()

    def __init__(
        self, database: Database, clock: Any, write_notice: Callable[[QuotaNotice], IContent]
    ) -> None:
        self._database = database
        self._step = BroadcastStep(database.ids, write_notice)
        self._background = Background()
        self._wanted = self._working = False
        self._loop = LoopingCall(self.wake)
        self._loop.clock = clock

    def startService(self) -> None:
        """Start to look."""
        super().startService()
        _ = self._loop.start(EVERY)

    def stopService(self) -> "Deferred[None]":
        """Stop behind the transaction under way; the next start goes on from there."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        return Deferred.fromCoroutine(self._background.drain())

    def wake(self) -> None:
        """Look now."""
        self._wanted = True
        if self.running and not self._working:
            self._working = True
            self._background.start(self._work(), "broadcasts")

    async def _work(self) -> None:
        try:
            while self._wanted and self.running:
                self._wanted = False
                for number in await self._database.run(unfinished):
                    await self._deliver(number)
        except Exception as error:  # noqa: BLE001 - the next look tries again
            self._log.warn("a broadcast waits: {error}", error=str(error))
        finally:
            self._working = False

    async def _deliver(self, number: int) -> None:
        while self.running and await self._database.write(self._step, number):
            pass
        if self.running:
            self._log.info("broadcast {number} is delivered", number=number)
