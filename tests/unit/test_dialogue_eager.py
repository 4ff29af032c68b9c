"""What can be answered at once is, while the conversation sleeps."""

import re
from collections.abc import Callable

import pytest

from mailsvc.wire.interruptions import HungUp, Stopping, TimedOut
from tests.unit.test_dialogue_waits import Line

NOOP = re.compile(rb"NOOP\r\n")


class Eager(Line):
    """A dialogue that answers NOOP at once; everything else is the conversation's."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.also: Callable[[], object] = lambda: None
        self.start(self.converse())

    async def converse(self) -> None:
        """Hear what could not be answered at once."""
        while True:
            await self.dialogue.rest_of_line(10, self.answer)
            while (line := self.dialogue.ready_line()) is not None:
                self.ended.append(line)

    def answer(self) -> bool:
        """Answer what is there."""
        self.asked += 1
        self.also()
        while self.dialogue.seen(NOOP):
            self.dialogue.take(6)
            self.dialogue.write(b"+OK\r\n")
        self.dialogue.flush()
        return not self.dialogue.pending


@pytest.fixture
def line() -> Eager:
    """Give a conversation that waits."""
    return Eager()


def test_nobody_is_woken_for_what_was_answered(line: Eager) -> None:
    """Once and many times."""
    line.dialogue.received(b"NOOP\r\n")
    line.dialogue.received(b"NOOP\r\nNOOP\r\n")

    assert line.transport.written == b"+OK\r\n" * 3
    assert (line.asked, line.ended) == (2, [])


@pytest.mark.parametrize("step", [1, 3, 6, 7, 100])
def test_what_was_not_is_heard_in_order(line: Eager, step: int) -> None:
    """However it comes."""
    octets = b"NOOP\r\nSTAT\r\nNOOP\r\nQUIT\r\n"

    for at in range(0, len(octets), step):
        line.dialogue.received(octets[at : at + step])

    answered = line.transport.written.count(b"+OK\r\n")
    assert [one for one in line.ended if one != b"NOOP"] == [b"STAT", b"QUIT"]
    assert line.ended.count(b"NOOP") + answered == 2


def test_silence_counts_from_the_last_answer(line: Eager) -> None:
    """As if the wait had just begun."""
    for _ in range(5):
        line.clock.pump([1] * 9)
        line.dialogue.received(b"NOOP\r\n")
    line.clock.pump([1] * 9)
    assert line.ended == []

    line.clock.advance(1)

    assert line.ended == [TimedOut]


def test_a_fixed_end_stays(line: Eager) -> None:
    """Whatever is answered meanwhile."""
    line.dialogue.limit_transaction(15)
    for _ in range(2):
        line.clock.pump([1] * 7)
        line.dialogue.received(b"NOOP\r\n")

    line.clock.advance(1)

    assert line.ended == [TimedOut]


def test_nothing_is_answered_to_a_client_that_does_not_read(line: Eager) -> None:
    """It would be piled up; it is answered when the client reads on."""
    line.dialogue.pauseProducing()
    line.dialogue.received(b"NOOP\r\n")
    assert (line.asked, line.transport.written) == (0, b"")

    line.dialogue.resumeProducing()

    assert line.ended == [b"NOOP"]


@pytest.mark.parametrize(("how", "error"), [("interrupt", Stopping), ("lost", HungUp)])
def test_an_end_in_the_middle_is_heard(line: Eager, how: str, error: type[Exception]) -> None:
    """Once, and no timer is left of the wait."""
    line.also = getattr(line.dialogue, how)

    line.dialogue.received(b"NOOP\r\n")

    assert line.ended == [error]
    line.clock.pump([1] * 20)
    line.start(line.dialogue.line(10))
    assert line.ended == [error, error]
    assert not line.clock.getDelayedCalls()


def test_a_fault_is_the_conversations(line: Eager) -> None:
    """It ends there, and not in the reactor."""

    def fail() -> None:
        raise ZeroDivisionError

    line.also = fail

    line.dialogue.received(b"NOOP\r\n")

    assert line.ended == [ZeroDivisionError]


def test_it_is_asked_only_in_the_wait_that_wants_it(line: Eager) -> None:
    """A response in a login is no command."""
    line.dialogue.received(b"AUTH\r\n")

    line.start(line.dialogue.octets(10))
    line.dialogue.received(b"NOOP\r\n")

    assert line.ended == [b"AUTH", b"NOOP\r\n"]
    assert line.asked == 1
