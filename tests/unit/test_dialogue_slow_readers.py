"""A client that reads slowly is waited for; one that reads nothing any more is cut off."""

import pytest

from mailsvc.wire.dialogue import CLOSE_PATIENCE, LONGEST_CLOSE
from mailsvc.wire.interruptions import HungUp, TimedOut
from tests.support.smtp_talk import FakeTransport
from tests.unit.test_dialogue_waits import Line


class TlsTransport(FakeTransport):
    """Begins TLS, and nobody agrees."""

    def startTLS(self, creator: object) -> None:
        """Begin it."""


class Slow(Line):
    """A dialogue whose client has not read a large reply yet."""

    transport_class = TlsTransport

    def __init__(self, unread: int = 1_000_000, longest_session: float = 1e9) -> None:
        super().__init__(longest_session)
        self.transport.unread = unread

    def read(self, seconds: int, octets: int = 1) -> None:
        """Let the client read some octets each second."""
        for _ in range(seconds):
            self.transport.unread = max(0, self.transport.unread - octets)
            self.clock.advance(1)


@pytest.fixture
def line() -> Slow:
    """Give a connection whose buffers are full, so that nothing moves in them for long."""
    line = Slow()
    line.dialogue.pauseProducing()
    return line


class TestSending:
    """``send`` waits for a client that reads."""

    def test_who_reads_on_is_waited_for(self, line: Slow) -> None:
        """However long it takes."""
        line.start(line.dialogue.send(b"x", 120))

        line.read(10_000)

        assert line.ended == []
        line.dialogue.resumeProducing()
        assert line.ended == [None]

    @pytest.mark.parametrize("reads", [1, 29, 31, 119, 121, 1000])
    def test_who_stops_reading_is_cut_off(self, line: Slow, reads: int) -> None:
        """In its time since it has read, and a quarter of that at most."""
        line.start(line.dialogue.send(b"x", 120))
        line.read(reads)

        silent = 0
        while line.ended == []:
            line.clock.advance(1)
            silent += 1

        assert line.ended == [TimedOut]
        assert 120 <= silent <= 120 + 30

    def test_who_reads_nothing_is_cut_off_in_its_time(self, line: Slow) -> None:
        """Looking more often stretches nothing."""
        line.start(line.dialogue.send(b"x", 120))
        line.clock.pump([1] * 119)
        assert line.ended == []

        line.clock.advance(1)

        assert line.ended == [TimedOut]
        assert not line.clock.getDelayedCalls()

    def test_an_end_that_is_fixed_stays(self, line: Slow) -> None:
        """Reading does not stretch a session, or a transaction."""
        line.dialogue.limit_transaction(300)
        line.start(line.dialogue.send(b"x", 120))

        line.read(300)

        assert line.ended == [TimedOut]

    @pytest.mark.parametrize(("first", "second"), [(600, 120), (600, 400)])
    def test_a_wait_behind_another_is_looked_at_in_its_own_time(
        self, first: int, second: int
    ) -> None:
        """Its client reads only at the start of it."""
        line = Slow()
        line.start(line.dialogue.line(first))
        line.dialogue.received(b"RETR 1\r\n")
        line.dialogue.pauseProducing()
        line.start(line.dialogue.send(b"x", second))

        line.read(1)
        line.clock.pump([1] * (second - 1))
        assert line.ended == [b"RETR 1"]
        line.clock.pump([1] * (second // 4 + 1))

        assert line.ended == [b"RETR 1", TimedOut]

    def test_what_was_read_at_once_counts(self, line: Slow) -> None:
        """Before anybody has looked."""
        line.start(line.dialogue.send(b"x", 120))
        line.read(1)

        line.clock.pump([1] * 119)
        assert line.ended == []
        line.clock.pump([1] * 31)

        assert line.ended == [TimedOut]

    def test_its_time_ends_with_it(self, line: Slow) -> None:
        """Nothing that comes later is measured by it."""
        line.start(line.dialogue.send(b"x", 120))
        line.dialogue.resumeProducing()

        line.clock.pump([1] * 500)
        line.start(line.dialogue.line(10))
        line.dialogue.received(b"NOOP\r\n")

        assert line.ended == [None, b"NOOP"]


class TestSilence:
    """``line`` waits while the client still reads what it asked for."""

    def test_it_counts_from_when_all_was_read(self) -> None:
        """The kernel took all of a reply for which the client needs half an hour."""
        line = Slow(unread=1800)
        line.start(line.dialogue.line(600))
        line.read(1800)
        assert line.ended == []

        line.clock.pump([1] * 449)
        assert line.ended == []
        line.clock.pump([1] * 301)

        assert line.ended == [TimedOut]

    def test_it_is_no_excuse_that_something_was_not_read(self) -> None:
        """Nothing is read on a line that was cut."""
        line = Slow()
        line.start(line.dialogue.line(600))

        line.clock.pump([1] * 600)

        assert line.ended == [TimedOut]

    @pytest.mark.parametrize("blocked", [True, False])
    def test_tls_is_agreed_in_its_time(self, *, blocked: bool) -> None:
        """A stranger does not stretch that by reading slowly, neither before it nor in it."""
        line = Slow()
        if blocked:
            line.dialogue.pauseProducing()
        line.start(line.dialogue.start_tls(None, 30))

        line.read(29)
        assert line.ended == []
        line.read(1)

        assert line.ended == [TimedOut]


class TestLastWords:
    """``close`` lets them be read."""

    def test_who_reads_on_gets_them(self, line: Slow) -> None:
        """A client that asks for its mail and says QUIT at once may need its time for it."""
        line.dialogue.close()

        line.read(300)
        assert not line.transport.aborted
        line.clock.pump([1] * 59)
        assert not line.transport.aborted
        line.clock.pump([1] * 16)

        assert line.transport.aborted
        assert not line.clock.getDelayedCalls()

    def test_nobody_reads_for_ever(self, line: Slow) -> None:
        """A stranger would hold a connection as long as he likes."""
        line.dialogue.close()

        line.read(round(LONGEST_CLOSE) - 1)
        assert not line.transport.aborted
        line.read(1)

        assert line.transport.aborted

    @pytest.mark.parametrize(("left", "until"), [(100, 100), (5, CLOSE_PATIENCE)])
    def test_a_session_is_no_longer_for_it(self, left: int, until: float) -> None:
        """What is over whatever happens is over, too."""
        line = Slow(longest_session=1000)
        line.clock.advance(1000 - left)
        line.dialogue.close()

        line.read(round(until) - 1)
        assert not line.transport.aborted
        line.read(1)

        assert line.transport.aborted

    def test_nothing_to_read_is_over_soon(self) -> None:
        """Only the client's good-bye is waited for."""
        line = Slow(unread=0)
        line.dialogue.close()

        line.clock.pump([1] * round(CLOSE_PATIENCE))

        assert line.transport.aborted

    def test_we_do_not_wait_when_we_are_in_a_hurry(self, line: Slow) -> None:
        """The service stops, or an administrator has ended the session."""
        line.dialogue.interrupt()
        line.dialogue.close()

        line.read(round(CLOSE_PATIENCE))

        assert line.transport.aborted

    def test_the_hurry_may_come_later(self, line: Slow) -> None:
        """Once: who asks again and again stretches nothing."""
        line.dialogue.close()
        line.read(100)
        for _ in range(round(CLOSE_PATIENCE) - 1):
            line.dialogue.interrupt()
            line.read(1)
        assert not line.transport.aborted

        line.read(1)

        assert line.transport.aborted

    def test_who_has_not_read_in_time_gets_no_more_time(self, line: Slow) -> None:
        """It is gone at once."""
        line.start(line.dialogue.send(b"x", 120))
        line.clock.pump([1] * 120)
        assert line.ended == [TimedOut]

        line.dialogue.close()

        assert line.transport.aborted
        line.start(line.dialogue.line(1))
        assert line.ended == [TimedOut, HungUp]

    def test_who_reads_at_a_fixed_end_hears_of_it(self, line: Slow) -> None:
        """It was not silent."""
        line.dialogue.limit_transaction(300)
        line.start(line.dialogue.send(b"x", 120))
        line.read(300)
        assert line.ended == [TimedOut]

        line.dialogue.write(b"421 too late\r\n")
        line.dialogue.close()

        assert line.transport.written.endswith(b"421 too late\r\n")
        assert not line.transport.aborted

    @pytest.mark.parametrize("interrupted", [False, True])
    def test_nothing_is_looked_at_behind_the_end(self, line: Slow, *, interrupted: bool) -> None:
        """The connection is lost while the last words are read."""
        line.dialogue.close()
        line.read(5)

        line.dialogue.lost()
        if interrupted:
            line.dialogue.interrupt()

        assert not line.clock.getDelayedCalls()
        assert not line.transport.aborted
