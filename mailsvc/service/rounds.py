"""Work that is done again and again while the service runs."""

from typing import Any, ClassVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from mailsvc.background import Background
from mailsvc.errors import MailError


class Rounds(Service):
    """
    Does a round every few seconds, and when it is woken; never two at once.

    A round that fails is told in the log, and the next one tries again.

    Args:
        clock: Tells when.
    """

    every: ClassVar[float]
    """Seconds between two rounds."""
    at_once: ClassVar[bool] = False
    """Whether the first one is at the start."""
    title: ClassVar[str]
    """What the log calls it."""
    _log = Logger()

    def __init__(self, clock: Any) -> None:
        self._background = Background()
        self._wanted = self._working = False
        self._asked: list[Deferred[None]] = []
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock

    def startService(self) -> None:
        """Start the rounds."""
        super().startService()
        _ = self._loop.start(self.every, now=self.at_once)

    def stopService(self) -> "Deferred[None]":
        """Stop them behind the one under way, and do what must not be forgotten."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        return Deferred.fromCoroutine(self._end())

    def wake(self) -> None:
        """Do a round now, or another one behind that which is under way."""
        self._wanted = True
        if self.running and not self._working:
            self._working = True
            self._background.start(self._work(), self.title)

    async def renew(self) -> None:
        """Wait for a round that begins now or later; one that fails has been told in the log."""
        over: Deferred[None] = Deferred()
        self._asked.append(over)
        self.wake()
        if self._working:
            await over
        else:
            self._asked.clear()

    async def round(self) -> None:
        """Do it once."""
        raise NotImplementedError

    async def last(self) -> None:
        """Do what must be done at the end."""

    def _tick(self) -> None:
        if not self._working:
            self.wake()

    async def _work(self) -> None:
        try:
            while self._wanted and self.running:
                self._wanted = False
                waiting, self._asked = self._asked, []
                try:
                    await self._try()
                finally:
                    _fire(waiting)
        finally:
            self._working = False
            _fire(self._asked)
            self._asked = []

    async def _try(self) -> None:
        try:
            await self.round()
        except MailError as error:
            self._log.warn("{title}: {error}; tried again", title=self.title, error=str(error))
        except Exception:  # noqa: BLE001 - the next round tries again
            self._log.failure("{title} failed", title=self.title)

    async def _end(self) -> None:
        await self._background.drain()
        await self.last()


def _fire(waiting: "list[Deferred[None]]") -> None:
    for one in waiting:
        one.callback(None)
