"""The reactor in short turns: everybody has one, and what waits for the end of it is done."""

import errno
import socket
from collections.abc import Callable, Iterator
from select import EPOLLIN
from typing import Any, cast

import pytest
from twisted.internet.testing import MemoryReactor
from twisted.logger import capturedLogs

from mailsvc.wire.turns import ROUND, SOON, TurnReactor, at_turn_end


class Ready:
    """A connection that always has something to say."""

    def __init__(self, read: Callable[["Ready"], object]) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._theirs.send(b"x")
        self._read = read
        self.turns = 0
        self.lost: Any = None

    def fileno(self) -> int:
        """Have a number as sockets do."""
        return self._ours.fileno()

    def doRead(self) -> None:
        """Have a turn."""
        self.turns += 1
        self._read(self)

    def connectionLost(self, reason: Any) -> None:
        """Note why."""
        self.lost = reason

    def close(self) -> None:
        """Give both sockets back."""
        self._ours.close()
        self._theirs.close()


class Turns:
    """A reactor that turns when it is told to."""

    def __init__(self) -> None:
        self.reactor: Any = TurnReactor()
        self.crowd: list[Ready] = []
        self.done: list[str] = []

    def connect(self, number: int, read: Callable[[Ready], object] = lambda _: None) -> None:
        """Add connections."""
        for _ in range(number):
            one = Ready(read)
            self.crowd.append(one)
            self.reactor.addReader(one)

    def note(self, text: str) -> Callable[[], None]:
        """Make a call that notes it was made."""
        return lambda: self.done.append(text)

    def close(self) -> None:
        """Give all descriptors back."""
        self.reactor.removeAll()
        self.reactor.waker.connectionLost(None)
        for one in self.crowd:
            one.close()


@pytest.fixture
def turns() -> Iterator[Turns]:
    """Give a reactor that is nobody's."""
    turns = Turns()
    yield turns
    turns.close()


def test_one_turn_is_for_a_few(turns: Turns) -> None:
    """Answers of the database do not wait for everybody who talks."""
    turns.connect(3 * ROUND)

    turns.reactor.doPoll(0)

    assert sum(one.turns for one in turns.crowd) == ROUND


def test_everybody_has_a_turn(turns: Turns) -> None:
    """However much the others talk."""
    turns.connect(3 * ROUND)

    for _ in range(12):
        turns.reactor.doPoll(0)

    assert {one.turns for one in turns.crowd} == {4}


def test_the_end_of_a_turn_comes_once_and_behind_all_that_was_ready(turns: Turns) -> None:
    """What connections have to say leaves together."""

    def read(_: Ready) -> None:
        turns.done.append("read")
        if turns.done == ["read"]:
            turns.reactor.at_turn_end(turns.note("end"))

    turns.connect(3, read)

    turns.reactor.doPoll(0)
    turns.reactor.doPoll(0)

    assert turns.done == [*["read"] * 3, "end", *["read"] * 3]


@pytest.mark.parametrize("door", ["callLater", "callFromThread"])
def test_what_timers_and_threads_have_to_say_does_not_wait(turns: Turns, door: str) -> None:
    """It leaves before the reactor sleeps."""
    when = (0,) if door == "callLater" else ()
    getattr(turns.reactor, door)(*when, turns.reactor.at_turn_end, turns.note("end"))

    turns.reactor.iterate(0)

    assert turns.done == ["end"]


def test_a_timer_that_is_set_at_the_end_of_a_turn_is_not_late(turns: Turns) -> None:
    """The reactor decides how long it sleeps when all is done."""
    due = turns.note("in time")
    turns.reactor.callLater(0, turns.reactor.at_turn_end, lambda: turns.reactor.callLater(0, due))

    turns.reactor.runUntilCurrent()

    assert turns.reactor.timeout() == 0
    turns.reactor.iterate(0)
    assert turns.done == ["in time"]


def test_an_end_may_ask_for_another_one(turns: Turns) -> None:
    """It comes in the same turn."""
    turns.reactor.at_turn_end(lambda: turns.reactor.at_turn_end(turns.note("end")))

    turns.reactor.iterate(0)

    assert turns.done == ["end"]


def test_an_end_that_fails_takes_no_other_with_it(turns: Turns) -> None:
    """The others would never be heard: they wait for nothing else."""
    turns.reactor.at_turn_end(turns.crowd.pop)
    turns.reactor.at_turn_end(turns.note("end"))

    with capturedLogs() as told:
        turns.reactor.iterate(0)

    assert turns.done == ["end"]
    assert [event["log_failure"].type for event in told] == [IndexError]


def test_a_connection_that_fails_is_lost_alone(turns: Turns) -> None:
    """The others of its turn are read, and the turn has an end."""

    def fail(_: Ready) -> None:
        raise KeyError

    turns.connect(1, fail)
    turns.connect(2)
    turns.reactor.at_turn_end(turns.note("end"))

    with capturedLogs() as told:
        turns.reactor.iterate(0)
        turns.reactor.iterate(0)

    lost, *others = turns.crowd
    assert (lost.turns, lost.lost.type) == (1, KeyError)
    assert [(one.turns, one.lost) for one in others] == [(2, None)] * 2
    assert turns.done == ["end"]
    assert [event["log_failure"].type for event in told] == [KeyError]


def test_who_leaves_in_the_turn_of_another_is_not_read(turns: Turns) -> None:
    """Though it was ready when the turn began."""

    def send_others_away(one: Ready) -> None:
        for other in turns.crowd:
            if other is not one:
                turns.reactor.removeReader(other)

    turns.connect(3, send_others_away)

    turns.reactor.doPoll(0)

    assert sum(one.turns for one in turns.crowd) == 1


class Client:
    """Sends something a while after it was answered, as the poller of a reactor sees it."""

    def __init__(self, turns: Turns, *gaps: float, others: bool = False) -> None:
        self._gaps = iter(gaps)
        self._clock = self._due = 0.0
        self._others = others
        self.sleeps: list[float] = []
        """When the reactor went to sleep, in seconds since the last answer."""
        self.looks = 0
        """How often it has only looked."""
        turns.connect(2, lambda _: turns.reactor.look_on())
        vars(turns.reactor).update(_seconds=self.seconds, _poller=self)
        self._numbers = [one.fileno() for one in turns.crowd]
        self._answered = 0.0

    def seconds(self) -> float:
        """Tell the time, which passes."""
        self._clock += 1e-6
        return self._clock

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        """Give the client's descriptor when it has said something."""
        del most
        if timeout:
            self.sleeps.append(self._clock - self._answered)
            self._clock = max(self._clock, self._due) + WAKING
        else:
            self.looks += 1
        if self._clock < self._due:
            return []
        if self._others:
            self._numbers.reverse()
        self._answered, self._due = self._clock, self._clock + next(self._gaps, 1.0)
        return [(self._numbers[0], EPOLLIN)]

    def unregister(self, number: int) -> None:
        """Let a connection go."""

    def close(self) -> None:
        """Do nothing: there is nothing open."""


WAKING = SOON / 4
"""Seconds until a reactor that sleeps is awake."""


class TestLookingOn:
    """Who answers at once is not waited for asleep."""

    def serve(self, turns: Turns, number: int) -> None:
        """Serve some turns."""
        for _ in range(number):
            turns.reactor.doPoll(None)

    def test_a_client_that_answers_soon_finds_us_awake(self, turns: Turns) -> None:
        """From the second time on: the first shows how soon it comes."""
        client = Client(turns, *[SOON / 2] * 20)

        self.serve(turns, 20)

        assert len(client.sleeps) == 3
        assert client.looks > 17

    def test_a_client_that_takes_its_time_is_waited_for_asleep(self, turns: Turns) -> None:
        """Looking on would only cost."""
        client = Client(turns, *[SOON * 5] * 20)

        self.serve(turns, 20)

        assert (len(client.sleeps), client.looks) == (20, 0)

    def test_a_moment_that_brings_nothing_is_the_last_one(self, turns: Turns) -> None:
        """We sleep behind it, and sleep at once the next time."""
        client = Client(turns, *[SOON / 2] * 10, *[SOON * 5] * 10)

        self.serve(turns, 20)

        _, _, _, late, *others = client.sleeps
        assert SOON <= late < SOON * 1.1
        assert len(others) > 7
        assert all(one < SOON / 10 for one in others)

    def test_several_clients_are_waited_for_asleep(self, turns: Turns) -> None:
        """Those that come meanwhile are served together."""
        client = Client(turns, *[SOON / 2] * 20, others=True)

        self.serve(turns, 20)

        assert (len(client.sleeps), client.looks) == (20, 0)

    def test_nothing_is_late_by_it(self, turns: Turns) -> None:
        """What is due at once is not waited for."""
        client = Client(turns, *[SOON / 2] * 9)
        self.serve(turns, 8)
        looks = client.looks

        turns.reactor.doPoll(0)

        assert client.looks == looks + 1


class TestRunning:
    """While it runs, a reactor serves turn after turn, until something else is due."""

    @pytest.fixture
    def running(self, turns: Turns) -> Turns:
        """Give one that is stopped in any case."""

        def stop() -> None:
            turns.done.append("too late")
            turns.reactor.stop()

        turns.reactor.callLater(20, stop)
        return turns

    def run(self, turns: Turns) -> None:
        """Run until it is stopped."""
        turns.reactor.run(installSignalHandlers=False)

    def test_a_connection_may_stop_it(self, running: Turns) -> None:
        """In the midst of its turns."""

        def read(one: Ready) -> None:
            if one.turns == 100:
                running.reactor.stop()

        running.connect(1, read)

        self.run(running)

        assert running.done == []
        assert running.crowd[0].turns <= 101

    def test_a_timer_is_not_late(self, running: Turns) -> None:
        """However much everybody talks; also one that a connection has set."""

        def read(one: Ready) -> None:
            if one.turns == 100:
                running.reactor.callLater(0.01, running.reactor.stop)

        running.connect(3, read)

        self.run(running)

        assert running.done == []
        assert running.crowd[0].turns > 100

    def test_a_thread_is_heard(self, running: Turns) -> None:
        """With connections that talk, and in silence."""
        calls = []

        def call() -> None:
            calls.append(running.crowd[0].turns)
            running.reactor.removeAll()
            running.reactor.callInThread(running.reactor.callFromThread, running.reactor.stop)

        running.connect(2)
        running.reactor.callWhenRunning(
            running.reactor.callInThread, running.reactor.callFromThread, call
        )

        self.run(running)

        assert running.done == []
        assert len(calls) == 1

    def test_who_has_the_turn_alone_is_known(self, running: Turns) -> None:
        """It need not wait for the end of the turn."""
        lone: list[int | None] = []

        def read(one: Ready) -> None:
            lone.append(running.reactor.lone)
            running.reactor.removeReader(one)
            if len(lone) == 3:
                running.reactor.callLater(0, running.reactor.stop)

        running.connect(2, read)
        running.reactor.callLater(0.01, running.connect, 1, read)

        self.run(running)

        assert lone == [None, None, running.crowd[2].fileno()]
        assert running.reactor.lone is None


class _Poller:
    """Fails as the kernel may."""

    def __init__(self, number: int) -> None:
        self._number = number

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        """Fail."""
        del timeout, most
        raise OSError(self._number, "no")


def test_a_signal_ends_a_turn_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other error of the kernel is told."""
    turns = Turns()
    with monkeypatch.context() as patch:
        patch.setattr(turns.reactor, "_poller", _Poller(errno.EINTR))
        turns.reactor.doPoll(None)
        patch.setattr(turns.reactor, "_poller", _Poller(errno.EBADF))
        with pytest.raises(OSError, match="no"):
            turns.reactor.doPoll(None)
    turns.close()


def test_other_reactors_say_that_they_do_not_tell() -> None:
    """Whoever asks does it at once."""
    assert not at_turn_end(cast("Any", MemoryReactor()), lambda: None)
