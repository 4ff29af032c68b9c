"""Waiting on purpose: before a greeting, before a refusal, and for the end of a message."""

from collections.abc import Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mailsvc.wire.dialogue import Dialogue, HungUp, Stopping, TimedOut
from tests.support.smtp_talk import FakeTransport


class Line:
    """A dialogue that waits, and how the wait has ended."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.transport = FakeTransport("192.0.2.7")
        self.dialogue = Dialogue(self.transport, self.clock, longest_line=512)
        self.ended: list[Any] = []

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Begin to wait."""
        _ = Deferred.fromCoroutine(work).addBoth(self._note)

    def _note(self, result: Any) -> None:
        self.ended.append(result.type if isinstance(result, Failure) else result)


def test_silence_is_heard() -> None:
    """Who waits is told from who does not."""
    line = Line()
    line.start(line.dialogue.hush(2))
    line.clock.advance(1.9)
    assert line.ended == []

    line.clock.advance(0.1)

    assert line.ended == [True]


def test_one_word_ends_the_silence() -> None:
    """What was said before the wait counts as well, and nothing of it is lost."""
    line = Line()
    line.start(line.dialogue.hush(2))
    line.dialogue.received(b"EHLO a\r\n")
    assert line.ended == [False]

    line.start(line.dialogue.hush(2))
    line.start(line.dialogue.line(10))

    assert line.ended == [False, False, b"EHLO a"]


def test_a_rest_ends_in_time_whatever_comes() -> None:
    """What was written goes out before it; what comes meanwhile waits."""
    line = Line()
    line.dialogue.write(b"250 OK\r\n")
    line.start(line.dialogue.rest(3))
    assert line.transport.written == b"250 OK\r\n"
    line.dialogue.received(b"NOOP\r\n")
    line.clock.advance(2.9)
    assert line.ended == []

    line.clock.advance(0.1)
    line.start(line.dialogue.line(10))

    assert line.ended == [None, b"NOOP"]


@pytest.mark.parametrize("what", ["hush", "rest"])
def test_a_client_that_is_gone_is_not_waited_for(what: str) -> None:
    """During the wait and before it."""
    for before in (True, False):
        line = Line()
        if before:
            line.dialogue.lost()
        line.start(getattr(line.dialogue, what)(2))
        if not before:
            line.dialogue.lost()

        assert line.ended == [HungUp]
        assert not line.clock.getDelayedCalls()


@pytest.mark.parametrize(("what", "end"), [("hush", Stopping), ("rest", None)])
def test_a_stop_is_not_held_up(what: str, end: object) -> None:
    """A refusal that rests is still said; a greeting is not."""
    for before in (True, False):
        line = Line()
        if before:
            line.dialogue.interrupt()
        line.start(getattr(line.dialogue, what)(2))
        if not before:
            line.dialogue.interrupt()

        assert line.ended == [end]
        assert not line.clock.getDelayedCalls()


@pytest.mark.parametrize("what", ["hush", "rest"])
def test_a_wait_can_be_cancelled(what: str) -> None:
    """The service does not wait for it in the end."""
    line = Line()
    waiting = Deferred.fromCoroutine(getattr(line.dialogue, what)(2))
    _ = waiting.addErrback(lambda _: line.ended.append("cancelled"))

    waiting.cancel()
    line.clock.advance(5)

    assert line.ended == ["cancelled"]
    assert not line.clock.getDelayedCalls()


def test_a_transaction_ends_in_time_whatever_comes() -> None:
    """Talking does not stretch it."""
    line = Line()
    line.dialogue.limit_transaction(100)
    for _ in range(9):
        line.start(line.dialogue.line(60))
        line.clock.advance(11)
        line.dialogue.received(b"NOOP\r\n")
    line.start(line.dialogue.line(60))
    assert not line.dialogue.is_transaction_over

    line.clock.advance(1)

    assert line.ended == [b"NOOP"] * 9 + [TimedOut]
    assert line.dialogue.is_transaction_over


def test_a_transaction_that_has_ended_presses_nobody() -> None:
    """Then only silence counts."""
    line = Line()
    line.dialogue.limit_transaction(100)
    line.dialogue.limit_transaction(None)
    line.start(line.dialogue.line(300))

    line.clock.advance(299)

    assert line.ended == []
    assert not line.dialogue.is_transaction_over
