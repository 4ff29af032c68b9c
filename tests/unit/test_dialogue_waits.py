"""Waiting on purpose: before a greeting, before a refusal, and for the end of a message."""

from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mailsvc.background import Background
from mailsvc.wire.dialogue import Dialogue
from mailsvc.wire.interruptions import HungUp, Stopping, TimedOut
from tests.support.smtp_talk import FakeTransport


class Line:
    """A dialogue that waits, and how the wait has ended."""

    transport_class = FakeTransport

    def __init__(self, longest_session: float = 1e9) -> None:
        self.clock = Clock()
        self.transport = self.transport_class("192.0.2.7")
        self.dialogue = Dialogue(self.transport, self.clock, 512, longest_session)
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


class TestTimer:
    """One timer for all time-outs of a connection."""

    @pytest.mark.parametrize(("first", "second"), [(10, 300), (300, 10), (10, 10)])
    def test_each_wait_ends_in_its_own_time(self, first: int, second: int) -> None:
        """Whatever the wait before it was allowed."""
        line = Line()
        line.start(line.dialogue.line(first))
        line.clock.advance(5)
        line.dialogue.received(b"NOOP\r\n")
        line.start(line.dialogue.line(second))
        assert len(line.clock.getDelayedCalls()) == 1

        line.clock.pump([1] * (second - 1))
        assert line.ended == [b"NOOP"]
        line.clock.advance(1)

        assert line.ended == [b"NOOP", TimedOut]
        assert not line.clock.getDelayedCalls()

    def test_it_disturbs_no_work(self) -> None:
        """A command may take longer than the client may be silent."""
        line = Line()
        line.start(line.dialogue.line(10))
        line.dialogue.received(b"SLOW\r\n")

        line.clock.pump([1] * 60)
        line.start(line.dialogue.line(10))
        line.clock.advance(9)

        assert line.ended == [b"SLOW"]

    def test_a_transaction_that_began_ends_the_next_wait(self) -> None:
        """Though the timer of the wait before was set for later."""
        line = Line()
        line.start(line.dialogue.line(300))
        line.dialogue.received(b"MAIL\r\n")
        line.dialogue.limit_transaction(20)
        line.start(line.dialogue.line(300))

        line.clock.advance(20)

        assert line.ended == [b"MAIL", TimedOut]
        assert line.dialogue.is_transaction_over

    def test_nothing_is_left_of_a_connection(self) -> None:
        """Lost while it waits, and after it was closed by us."""
        for closed in (True, False):
            line = Line()
            line.start(line.dialogue.line(300))
            if closed:
                line.dialogue.received(b"QUIT\r\n")
                line.dialogue.close()
            line.dialogue.lost()

            assert not line.clock.getDelayedCalls()
            assert line.ended == [b"QUIT" if closed else HungUp]

    def test_a_client_that_does_not_read_our_last_words_is_cut_off(self) -> None:
        """The time-out of the wait before has nothing to say any more."""
        line = Line()
        line.start(line.dialogue.line(3))
        line.dialogue.received(b"QUIT\r\n")
        line.dialogue.close()

        line.clock.pump([1] * 9)
        assert not line.transport.aborted
        line.clock.advance(1)

        assert line.transport.aborted
        assert not line.clock.getDelayedCalls()


class TestInTheBackground:
    """Where conversations are driven."""

    def test_a_cancelled_wait_leaves_the_connection_usable(self) -> None:
        """Whoever is cancelled may still hear a line, and what comes wakes nobody twice."""
        line, background = Line(), Background()

        async def hear_twice() -> None:
            for _ in range(2):
                try:
                    line.ended.append(await line.dialogue.line(10))
                except CancelledError:
                    line.ended.append("cancelled")

        background.start(hear_twice(), "two lines")
        background.cancel()
        line.dialogue.received(b"NOOP\r\nQUIT\r\n")

        assert line.ended == ["cancelled", b"NOOP"]
        assert len(background) == 0

    def test_lines_wake_the_conversation_that_waits(self) -> None:
        """One at a time, in order, however they come; the end wakes it, too."""
        line, background = Line(), Background()

        async def converse() -> None:
            with suppress(HungUp):
                while True:
                    heard = await line.dialogue.line(10)
                    line.ended.append(heard)
                    line.dialogue.write(heard + b"\r\n")

        background.start(converse(), "a conversation")
        for octets in (b"on", b"e\r", b"\ntwo\r\nthree\r\nfo"):
            line.dialogue.received(octets)
        assert line.ended == [b"one", b"two", b"three"]
        line.dialogue.lost()

        assert line.transport.written == b"one\r\ntwo\r\nthree\r\n"
        assert line.transport.writes == 1
        assert len(background) == 0

    def test_what_was_paused_goes_on(self) -> None:
        """A client that sends much while it reads slowly loses nothing."""
        line, background = Line(), Background()
        much = [b"%d" % number for number in range(20_000)]

        async def converse() -> None:
            while len(line.ended) < len(much):
                line.ended.append(await line.dialogue.line(10))

        line.dialogue.pauseProducing()
        background.start(converse(), "a conversation")
        line.dialogue.received(b"\r\n".join(much))
        assert line.transport.paused
        assert line.ended == []
        line.dialogue.resumeProducing()
        line.dialogue.received(b"\r\n")

        assert line.ended == much
        assert not line.transport.paused
