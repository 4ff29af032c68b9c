"""Connections that read and write in large steps, and say at once what they have to say."""

from collections.abc import Callable
from errno import EAGAIN, EPIPE
from typing import Any, cast

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure

from mailsvc.config.units import KIB
from mailsvc.wire.prompt import PromptConnection

LARGE = b"L" * 16 * KIB


class _Kernel:
    """A socket that holds what a client has sent, and what was sent to it."""

    def __init__(self) -> None:
        self.waiting = 0
        self.sent: list[bytes] = []
        self.room = 1000 * KIB
        """Octets that it takes now."""
        self.lost = False
        """Whether the client is gone."""

    def recv(self, most: int) -> bytes:
        """Give what there is."""
        octets = min(most, self.waiting)
        self.waiting -= octets
        return b"x" * octets

    def send(self, octets: memoryview) -> int:
        """Take what there is room for."""
        if self.lost:
            raise BrokenPipeError(EPIPE, "gone")
        taken = bytes(octets[: self.room])
        self.room -= len(taken)
        if not taken:
            raise BlockingIOError(EAGAIN, "full")
        self.sent.append(taken)
        return len(taken)

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - as sockets have it
        """Never block."""

    def fileno(self) -> int:
        """Have a number as sockets do."""
        return 99

    def shutdown(self, how: int) -> None:
        """Close as sockets do."""

    def close(self) -> None:
        """Close as sockets do."""


class _Turns(MemoryReactor):
    """A reactor whose turn ends when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self._ends: list[Callable[[], object]] = []
        self.lone: int | None = None

    def at_turn_end(self, call: Callable[[], object]) -> None:
        """Call it when the turn ends."""
        self._ends.append(call)

    def end_turn(self) -> None:
        """End the turn."""
        ends, self._ends = self._ends, []
        for end in ends:
            end()

    def callLater(self, *args: object) -> None:
        """Twisted tells later that a connection was cut; here nobody waits for it."""


class _Sizes(Protocol):
    """Notes how much came with each read."""

    def __init__(self) -> None:
        self.noted: list[int] = []
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        """Note it."""
        self.noted.append(len(data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note it."""
        del reason
        self.lost = True


class _Line:
    """A connection between a reactor and a kernel of ours."""

    def __init__(self, reactor: MemoryReactor | None = None) -> None:
        self.turns = _Turns()
        self.kernel = _Kernel()
        self.sizes = _Sizes()
        self.connection = PromptConnection(
            cast("Any", self.kernel),
            self.sizes,
            ("127.0.0.1", 1),
            cast("Any", None),
            1,
            cast("Any", reactor or self.turns),
        )

    def write(self, *pieces: bytes) -> None:
        """Write pieces one by one."""
        for piece in pieces:
            self.connection.write(piece)

    def sent(self) -> list[bytes]:
        """Tell what has left, each send for itself, since it was asked last."""
        sent, self.kernel.sent = self.kernel.sent, []
        return sent


def test_a_client_that_sends_much_is_read_in_larger_steps() -> None:
    """And in small ones again, as soon as it sends little: large buffers cost time."""
    line = _Line()

    for octets in (100 * KIB, 1000 * KIB, 0, 0, 0, 0, 100 * KIB):
        line.kernel.waiting += octets
        line.connection.doRead()

    first, *large, rest, again = line.sizes.noted
    assert first == again == 64 * KIB
    assert large == [256 * KIB] * 4
    assert rest == 12 * KIB


class TestWriting:
    """What a connection says, and when it leaves."""

    def test_what_is_said_in_one_turn_leaves_in_one_piece(self) -> None:
        """At the end of the turn, and without a question whether it may."""
        line = _Line()

        line.write(b"one ", b"two ", b"three")
        assert line.sent() == []
        line.turns.end_turn()
        assert line.sent() == [b"one two three"]
        line.write(b"four")
        line.turns.end_turn()

        assert line.sent() == [b"four"]
        assert not line.turns.writers

    def test_what_waits_for_the_end_of_the_turn_is_not_read_yet(self) -> None:
        """Nor what the kernel has no room for, where it does not tell what it holds."""
        line = _Line()
        line.kernel.room = 100
        line.write(b"a" * 10)
        assert line.connection.unread_octets() == 10

        line.write(LARGE)
        assert line.connection.unread_octets() == 10 + len(LARGE) - 100
        line.kernel.room = 50
        line.connection.doWrite()
        line.write(LARGE)

        assert line.connection.unread_octets() == 10 + 2 * len(LARGE) - 150
        line.connection.connectionLost(Failure(ConnectionDone()))
        assert line.connection.unread_octets() == 0

    def test_who_has_the_turn_alone_does_not_wait(self) -> None:
        """There is nobody whose words could leave together with its own."""
        line = _Line()
        line.turns.lone = line.kernel.fileno()

        line.write(b"one", b"two")
        assert line.sent() == [b"one", b"two"]

        line.turns.lone = line.kernel.fileno() + 1
        line.write(b"three")
        assert line.sent() == []

    def test_much_does_not_wait(self) -> None:
        """And it does not overtake what waits already."""
        line = _Line()

        line.write(LARGE)
        assert line.sent() == [LARGE]
        line.write(b"a", LARGE)
        assert line.sent() == [b"a" + LARGE]
        line.turns.end_turn()

        assert line.sent() == []

    def test_little_that_becomes_much_does_not_wait(self) -> None:
        """Nothing piles up in a long turn; what comes behind it waits anew."""
        line = _Line()

        line.write(*[b"x" * KIB] * 16, b"rest")
        assert line.sent() == [b"x" * 16 * KIB]
        line.turns.end_turn()

        assert line.sent() == [b"rest"]

    @pytest.mark.parametrize("octets", [b"a little", LARGE])
    def test_what_the_kernel_does_not_take_follows_in_order(self, octets: bytes) -> None:
        """A slow client gets every octet once."""
        line = _Line()
        line.kernel.room = 3

        line.write(octets, b"one")
        line.turns.end_turn()
        line.write(b"two")
        line.turns.end_turn()
        assert line.sent() == [octets[:3]]
        line.kernel.room = 1000 * KIB
        line.connection.doWrite()

        assert line.sent() == [octets[3:] + b"onetwo"]
        line.write(b"three")
        line.turns.end_turn()
        assert line.sent() == [b"three"]

    def test_a_full_kernel_is_asked_again_later(self) -> None:
        """It takes nothing, and the reactor is told that we wait for it."""
        line = _Line()
        line.kernel.room = 0

        line.write(b"late")
        line.turns.end_turn()
        assert line.turns.writers == {line.connection}
        line.kernel.room = 10
        line.connection.doWrite()

        assert line.sent() == [b"late"]
        assert not line.turns.writers

    def test_a_client_that_is_gone_is_noticed_by_the_reactor(self) -> None:
        """Whoever writes to it is not disturbed in the middle of its work."""
        line = _Line()
        line.kernel.lost = True

        line.write(b"hello?")
        line.turns.end_turn()

        assert line.turns.writers == {line.connection}
        assert isinstance(line.connection.doWrite(), Exception)

    def test_pieces_that_are_given_together_are_no_exception(self) -> None:
        """They follow what was written before them."""
        line = _Line()

        line.write(b"one ")
        line.connection.writeSequence([b"two ", b"three"])
        line.write(b" four")
        line.turns.end_turn()

        assert line.sent() == [b"one two three four"]

    def test_a_reactor_without_turns_sends_at_once(self) -> None:
        """The service works on any of Twisted's."""
        line = _Line(MemoryReactor())

        line.write(b"one", b"two")

        assert line.sent() == [b"one", b"two"]


class TestTheEnd:
    """What is said at the end of a connection."""

    def test_last_words_are_sent(self) -> None:
        """At once: then the connection is closed."""
        line = _Line()
        line.write(b"250 OK\r\n", b"221 Bye\r\n")

        line.connection.loseConnection()
        assert line.sent() == [b"250 OK\r\n221 Bye\r\n"]
        assert not line.sizes.lost
        line.turns.end_turn()

        assert line.sizes.lost
        assert not line.turns.writers

    def test_a_reactor_without_turns_closes_as_twisted_does(self) -> None:
        """It asks whether it may write."""
        line = _Line(MemoryReactor())

        line.connection.loseConnection()

        assert isinstance(line.connection.doWrite(), Exception)

    def test_what_is_said_behind_the_last_words_is_said(self) -> None:
        """As with Twisted: the connection is closed behind it."""
        line = _Line()

        line.connection.loseConnection()
        line.kernel.room = 0
        line.write(b"one more")
        line.turns.end_turn()
        line.turns.end_turn()
        line.kernel.room = 100

        assert not line.sizes.lost
        assert isinstance(line.connection.doWrite(), Exception)
        assert line.sent() == [b"one more"]

    def test_a_connection_that_was_cut_meanwhile_is_lost_once(self) -> None:
        """Twisted tells of it itself."""
        line = _Line()

        line.connection.loseConnection()
        line.connection.abortConnection()
        line.connection.connectionLost(Failure(ConnectionDone()))
        line.sizes.lost = False
        line.turns.end_turn()

        assert not line.sizes.lost

    def test_last_words_wait_for_a_slow_client(self) -> None:
        """The connection is closed behind the last one of them."""
        line = _Line()
        line.kernel.room = 3
        line.write(b"221 Bye\r\n")

        line.connection.loseConnection()
        line.turns.end_turn()
        line.kernel.room = 100

        assert isinstance(line.connection.doWrite(), Exception)
        assert line.sent() == [b"221", b" Bye\r\n"]

    def test_a_connection_that_is_cut_says_nothing_more(self) -> None:
        """Neither what waits nor what comes."""
        line = _Line()
        line.write(b"before")

        line.connection.abortConnection()
        line.write(b"after", LARGE)
        line.turns.end_turn()
        line.connection.doWrite()

        assert line.sent() == []

    def test_a_client_that_says_no_more_hears_what_was_said(self) -> None:
        """It ends its side and listens on; the answer was given in the same turn."""
        line = _Line()
        line.write(b"250 OK\r\n")

        line.connection.readConnectionLost(Failure(ConnectionDone()))
        line.turns.end_turn()

        assert line.sent() == [b"250 OK\r\n"]

    def test_nothing_is_said_behind_the_end(self) -> None:
        """Whoever does not know yet that the connection is lost may write."""
        line = _Line()

        line.connection.connectionLost(Failure(ConnectionDone()))
        line.write(b"hello?", LARGE)
        line.turns.end_turn()

        assert line.sent() == []
