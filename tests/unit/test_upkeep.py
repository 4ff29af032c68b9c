"""What is done every few seconds, and that none of it keeps the rest from its turn."""

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailsvc.service.upkeep import EVERY, Upkeep
from mailsvc.store.database import Database
from mailsvc.store.nodes import LIFE, beat
from mailsvc.store.removal import PURGE, purge_bodies


class SlowDatabase:
    """Each purge takes a second and finds more to do; the rest is done at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.beats: list[float] = []

    async def write(self, query: Callable[..., Any], *_: Any) -> Any:
        """Do a query, as long as it takes."""
        if query is beat:
            self.beats.append(self._clock.seconds())
            return True
        if query is purge_bodies:
            done: Deferred[int] = Deferred()
            self._clock.callLater(1, done.callback, PURGE)
            return await done
        return None


def test_a_long_purge_does_not_silence_the_node() -> None:
    """A node that gives no sign for a minute loses its number to another one."""
    clock = Clock()
    database = SlowDatabase(clock)
    upkeep = Upkeep(cast("Database", database), clock, lambda: (1, 2), lambda: True)
    upkeep.startService()

    clock.pump([1] * 200)

    gaps = [later - one for one, later in zip(database.beats, database.beats[1:], strict=False)]
    assert max(gaps) <= 3 * EVERY < LIFE.total_seconds()
    assert len(database.beats) > 10
