"""One connection as a coroutine sees it: lines, time-outs, back-pressure."""

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mailsvc.wire.dialogue import Dialogue
from mailsvc.wire.interruptions import BareLineFeed, HungUp, LineTooLong, Stopping, TimedOut
from mailsvc.wire.transport import client_of, set_no_delay
from tests.support.smtp_talk import FakeTransport


class Line:
    """A dialogue on a fake transport, and what was heard from it."""

    def __init__(self, longest_line: int = 20) -> None:
        self.clock = Clock()
        self.transport = FakeTransport("127.0.0.1")
        self.dialogue = Dialogue(self.transport, self.clock, longest_line, longest_session=1000)

    def next(self) -> "Deferred[bytes]":
        """Ask for a line."""
        return Deferred.fromCoroutine(self.dialogue.line(10))


def failure_of(answer: "Deferred[Any]") -> type[BaseException] | None:
    """Tell how a Deferred failed, and take the failure away."""
    if not answer.called or not isinstance(answer.result, Failure):
        return None
    kind: type[BaseException] | None = answer.result.type
    _ = answer.addErrback(lambda _: b"")
    return kind


def result_of(answer: "Deferred[bytes]") -> bytes | None:
    """Tell the result of a Deferred."""
    return answer.result if answer.called and isinstance(answer.result, bytes) else None


def test_lines_come_one_at_a_time() -> None:
    """However many were sent at once."""
    line = Line()
    line.dialogue.received(b"one\r\ntwo\r\nth")

    assert result_of(line.next()) == b"one"
    assert result_of(line.next()) == b"two"
    third = line.next()
    assert not third.called
    line.dialogue.received(b"ree\r\n")
    assert result_of(third) == b"three"


def test_a_long_line_is_dropped_alone() -> None:
    """What follows it is heard, whether it came in one segment or in many."""
    line = Line()
    line.dialogue.received(b"x" * 50 + b"\r\nnext\r\n")

    assert failure_of(line.next()) is LineTooLong
    assert result_of(line.next()) == b"next"

    answer = line.next()
    for _ in range(10):
        line.dialogue.received(b"x" * 10)
    line.dialogue.received(b"\r\nagain\r\n")
    assert failure_of(answer) is LineTooLong
    assert result_of(line.next()) == b"again"


def test_a_bare_line_feed_ends_no_line() -> None:
    """It is told from a line, and what follows is heard."""
    line = Line()
    line.dialogue.received(b"one\ntwo\r\n")

    assert failure_of(line.next()) is BareLineFeed
    assert result_of(line.next()) == b"two"


@pytest.mark.parametrize("longest", [1000, 4], ids=["line", "line that is too long"])
def test_a_line_that_drips_in_is_no_sign_of_life(longest: int) -> None:
    """It has the time of one silence, from its first octets on."""
    line = Line(longest)
    answer = line.next()
    line.clock.advance(8)

    for _ in range(9):
        line.dialogue.received(b"x")
        line.clock.advance(1.1)
        assert not answer.called

    line.dialogue.received(b"x")
    line.clock.advance(1.1)
    assert failure_of(answer) is TimedOut


def test_lines_that_are_never_whole_at_once_are_a_sign_of_life() -> None:
    """Each has a time of its own."""
    line = Line()
    line.dialogue.received(b"begins ")

    for _ in range(20):
        answer = line.next()
        line.clock.advance(8)
        line.dialogue.received(b"and ends\r\nbegins ")
        assert result_of(answer) == b"begins and ends"


def test_what_was_dropped_begins_no_line() -> None:
    """Not the octets that somebody has sent before TLS, or as content."""
    line = Line()
    answer = line.next()
    line.dialogue.received(b"half")
    line.clock.advance(5)
    line.dialogue.received(b" a line\r\nmore")
    assert result_of(answer) == b"half a line"
    content = Deferred.fromCoroutine(line.dialogue.octets(10))
    assert result_of(content) == b"more"

    answer = line.next()
    line.clock.advance(9)

    assert not answer.called


class TestHalfClosed:
    """A client that says nothing more may still listen."""

    def test_what_was_said_is_answered(self) -> None:
        """Whoever then asks for more loses the connection."""
        line = Line()
        line.dialogue.received(b"one\r\ntwo\r\nhalf a li")
        line.dialogue.input_ended()

        for said in (b"one", b"two"):
            assert result_of(line.next()) == said
            line.dialogue.write(b"+OK\r\n")
        assert not line.transport.closed
        answer = line.next()

        assert line.transport.written == b"+OK\r\n" * 2
        assert line.transport.closed
        line.dialogue.lost()
        assert failure_of(answer) is HungUp

    def test_who_waits_for_more_hears_of_it_at_once(self) -> None:
        """There will be nothing."""
        line = Line()
        answer = line.next()

        line.dialogue.input_ended()

        assert line.transport.closed
        line.dialogue.lost()
        assert failure_of(answer) is HungUp

    def test_content_that_is_not_whole_ends_so(self) -> None:
        """All of it is given first."""
        line = Line()
        line.dialogue.received(b"some content")
        line.dialogue.input_ended()

        first = Deferred.fromCoroutine(line.dialogue.octets(10))
        assert result_of(first) == b"some content"
        assert not line.transport.closed
        _ = Deferred.fromCoroutine(line.dialogue.octets(10)).addErrback(lambda _: None)

        assert line.transport.closed

    def test_who_reads_slowly_is_waited_for(self) -> None:
        """It has ended its own side only."""
        line = Line()
        line.dialogue.received(b"one\r\n")
        assert result_of(line.next()) == b"one"
        line.transport.producer.pauseProducing()
        sent = Deferred.fromCoroutine(line.dialogue.send(b"x" * 1000, 10))

        line.dialogue.input_ended()

        assert not line.transport.closed
        line.transport.producer.resumeProducing()
        assert sent.called
        answer = line.next()
        assert line.transport.closed
        line.dialogue.lost()
        assert failure_of(answer) is HungUp


def test_silence_ends_the_dialogue() -> None:
    """After the time that the conversation allows."""
    line = Line()
    answer = line.next()

    line.clock.advance(9)
    assert failure_of(answer) is None
    answer = line.next()
    line.clock.advance(11)

    assert failure_of(answer) is TimedOut


@pytest.mark.parametrize(("end", "error"), [("lost", HungUp), ("interrupt", Stopping)])
def test_the_end_is_heard_by_who_waits_and_who_asks_later(end: str, error: type[Exception]) -> None:
    """A lost connection and a stop of the service."""
    line = Line()
    waiting = line.next()

    getattr(line.dialogue, end)()

    assert failure_of(waiting) is error
    assert failure_of(line.next()) is error


def test_a_slow_reader_is_waited_for_and_cut_off() -> None:
    """Nothing is piled up for a client that does not read."""
    line = Line()
    sending = Deferred.fromCoroutine(line.dialogue.send(b"x" * 100, 30))
    assert sending.called

    line.dialogue.pauseProducing()
    stalled = Deferred.fromCoroutine(line.dialogue.send(b"y", 30))
    assert not stalled.called
    line.dialogue.resumeProducing()
    assert stalled.called

    line.dialogue.pauseProducing()
    stalled = Deferred.fromCoroutine(line.dialogue.send(b"z", 30))
    line.clock.advance(31)
    assert failure_of(stalled) is TimedOut


def test_replies_wait_for_each_other() -> None:
    """They leave together when the conversation waits."""
    line = Line()
    line.dialogue.write(b"one ")
    line.dialogue.write(b"two")
    assert line.transport.written == b""

    waiting = line.next()

    assert line.transport.written == b"one two"
    assert line.transport.writes == 1
    line.dialogue.lost()
    assert failure_of(waiting) is HungUp


@pytest.mark.parametrize(
    ("peer", "ip"),
    [
        (IPv4Address("TCP", "192.0.2.1", 5), "192.0.2.1"),
        (IPv6Address("TCP", "2001:db8::1", 5), "2001:db8::1"),
        (IPv6Address("TCP", "::ffff:192.0.2.1", 5), "192.0.2.1"),
        (UNIXAddress("/some/socket"), "127.0.0.1"),
    ],
)
def test_every_kind_of_connection_has_a_client(peer: Any, ip: str) -> None:
    """Stock ESMTP drops a client on a UNIX socket."""
    assert client_of(peer).ip == ip


def test_small_replies_are_sent_at_once() -> None:
    """Stock Twisted waits 40 ms for each (Nagle and delayed ACK)."""
    switched: list[bool] = []

    class Socket:
        setTcpNoDelay = staticmethod(switched.append)

    set_no_delay(Socket())
    set_no_delay(object())

    assert switched == [True]
