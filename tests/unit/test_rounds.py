"""Work that is done again and again, and those who wait for it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailsvc.errors import StorageFailed
from mailsvc.service.rounds import Rounds


class _Walk(Rounds):
    """Rounds that end when the test says so."""

    every, title = 10.0, "a walk"

    def __init__(self) -> None:
        self.clock = Clock()
        super().__init__(self.clock)
        self.gates: list[Deferred[None]] = []

    async def round(self) -> None:
        """Wait for the test."""
        self.gates.append(Deferred())
        await self.gates[-1]

    def ask(self) -> "Deferred[Any]":
        """Wait for a round."""
        return Deferred.fromCoroutine(self.renew())


@pytest.fixture
def walk() -> Iterator[_Walk]:
    """Start one, and stop it."""
    walk = _Walk()
    walk.startService()
    yield walk
    _ = walk.stopService()


def test_who_waits_waits_for_a_round_that_begins_now(walk: _Walk) -> None:
    """And no longer."""
    waits = walk.ask()
    assert (len(walk.gates), waits.called) == (1, False)

    walk.gates[0].callback(None)

    assert waits.called
    assert len(walk.gates) == 1


def test_a_round_that_has_begun_does_not_count(walk: _Walk) -> None:
    """It may have read before the change."""
    walk.wake()
    waits = [walk.ask(), walk.ask()]

    walk.gates[0].callback(None)
    assert [one.called for one in waits] == [False, False]
    walk.gates[1].callback(None)

    assert [one.called for one in waits] == [True, True]
    assert len(walk.gates) == 2


@pytest.mark.parametrize("error", [StorageFailed, RuntimeError])
def test_a_round_that_fails_holds_nobody_up(walk: _Walk, error: Callable[[], Exception]) -> None:
    """The log tells of it."""
    waits = walk.ask()

    walk.gates[0].errback(error())

    assert waits.called
    walk.clock.advance(10)
    assert len(walk.gates) == 2
    walk.gates[1].callback(None)


def test_nobody_waits_where_there_are_no_rounds() -> None:
    """Before the start."""
    walk = _Walk()

    assert walk.ask().called
    assert walk.gates == []


def test_nobody_waits_for_a_service_that_stops(walk: _Walk) -> None:
    """The round under way is the last one."""
    walk.wake()
    waits = walk.ask()

    stopped: Any = walk.stopService()
    assert not stopped.called
    walk.gates[0].callback(None)

    assert waits.called
    assert stopped.called
    assert len(walk.gates) == 1
