"""Reading ahead of a client that goes through its maildrop."""

import pytest
from twisted.internet.defer import Deferred

from mailsvc.errors import StorageFailed
from mailsvc.pop3 import bodies
from mailsvc.pop3.bodies import MessageGone
from mailsvc.pop3.replies import ok_message
from mailsvc.wire.dots import END
from tests.support.pop3_bodies import Case, now, reply_of
from tests.support.pop3_talk import faults, logs


def test_a_maildrop_in_order_takes_few_queries() -> None:
    """A client that fetches 200 messages does not wait 200 times for the database."""
    contents = [b"%d\r\n" % number for number in range(200)]
    case = Case(*contents)

    assert [case.whole(index) for index in range(200)] == contents
    assert case.maildrops.reads == [16, 50, 50, 50, 34]


def test_deleting_each_message_after_its_fetch_takes_few_queries_too() -> None:
    """RETR 1, DELE 1, RETR 2, DELE 2... is how most clients do it."""
    case = Case(*[b"x\r\n"] * 100)

    for index in range(100):
        case.whole(index, *range(index))

    assert case.maildrops.reads == [16, 50, 34]


def test_a_single_message_does_not_bring_fifty() -> None:
    """A client that jumps about costs less than one that reads on."""
    case = Case(*[b"x\r\n"] * 300)

    case.whole(200)
    case.whole(10)

    assert case.maildrops.reads == [16, 16]


def test_what_is_deleted_is_not_fetched() -> None:
    """Marked messages cost nothing."""
    case = Case(b"a", b"b", b"c")

    case.whole(0, 1, 2)

    assert case.maildrops.reads == [1]


def test_large_messages_are_not_held_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session holds a bounded number of octets."""
    monkeypatch.setattr(bodies, "MOST_AHEAD", 1000)
    case = Case(*[b"x" * 400] * 10)

    case.whole(0)

    assert case.maildrops.reads == [2]
    assert case.room.free == case.octets - 400


def test_all_sessions_together_hold_a_bounded_number_of_octets() -> None:
    """Without room a session fetches one message at a time."""
    case = Case(*[b"x" * 400] * 10, room=100)

    assert case.whole(0) == b"x" * 400
    assert case.whole(1) == b"x" * 400
    assert case.maildrops.reads == [1, 1]
    assert case.room.free == 100


def test_the_room_is_given_back() -> None:
    """At the end of a session nothing is held; nor after a fault."""
    case = Case(*[b"x" * 400] * 10)
    case.maildrops.faults["read"] = StorageFailed()

    with pytest.raises(StorageFailed):
        case.whole(0)
    assert case.room.free == case.octets

    case.whole(0)
    assert case.room.free == case.octets - 9 * 400
    case.bodies.forget()
    assert case.room.free == case.octets


def test_an_idle_session_holds_nothing() -> None:
    """What nobody asked for since the last look is dropped."""
    case = Case(*[b"x" * 400] * 3)
    case.whole(0)

    case.bodies.forget_unused()
    assert case.room.free == case.octets - 800
    case.bodies.forget_unused()
    assert case.room.free == case.octets
    assert case.whole(1) == b"x" * 400


def test_an_idle_look_while_reading_is_harmless() -> None:
    """The room is neither lost nor given back twice."""
    case = Case(*[b"x" * 400] * 3)
    gate: Deferred[None] = Deferred()
    case.maildrops.gates["read"] = gate
    reading = Deferred.fromCoroutine(case.bodies.whole(0, ()))

    case.bodies.forget()
    gate.callback(None)

    results: list[bytes | None] = []
    _ = reading.addCallback(results.append)
    assert results == [b"x" * 400]
    case.bodies.forget()
    assert case.room.free == case.octets


def test_a_message_that_was_removed_elsewhere_is_gone() -> None:
    """The web may remove what a POP3 session has listed."""
    case = Case(b"a", b"b")
    case.maildrops.remove(case.account, 1)

    with pytest.raises(MessageGone):
        case.whole(0)
    assert case.whole(1) == b"b"


def test_a_large_message_comes_in_chunks() -> None:
    """Its size tells where it ends: no query for a chunk that is not there."""
    case = Case(b"x" * 250, inline=100)
    case.maildrops.chunk = 100

    async def collect() -> list[bytes]:
        return [chunk async for chunk in case.bodies.chunks(0)]

    assert case.whole(0) is None
    assert now(collect()) == [b"x" * 100, b"x" * 100, b"x" * 50]


def test_a_large_message_is_never_cut_short() -> None:
    """When chunks are missing there is an error, not a shorter message."""
    case = Case(b"x" * 250, inline=100)
    case.maildrops.remove(case.account, 1)

    async def collect() -> list[bytes]:
        return [chunk async for chunk in case.bodies.chunks(0)]

    with pytest.raises(MessageGone):
        now(collect())


class TestAhead:
    """What is made ready while the client reads."""

    def test_the_next_message_is_ready(self) -> None:
        """With its dots."""
        case = Case(b"one\r\n", b"two\r\n", b".three\r\n", b"four\r\n")
        case.whole(0)
        case.bodies.reply(1)

        case.bodies.look_ahead(())

        assert case.bodies.reply(2) == reply_of(8, b"..three\r\n.\r\n")
        assert case.bodies.reply(3) == reply_of(6, b"four\r\n.\r\n")
        assert case.bodies.reply(4) is None

    def test_another_message_than_the_next_is_right_too(self) -> None:
        """Clients may jump."""
        case = Case(b"one\r\n", b"two\r\n", b"three\r\n", b"four\r\n")
        case.whole(0)
        case.bodies.reply(1)
        case.bodies.look_ahead(())

        assert case.bodies.reply(3) == reply_of(6, b"four\r\n.\r\n")
        assert case.bodies.reply(2) == reply_of(7, b"three\r\n.\r\n")

    def test_whole_bodies_have_no_dots(self) -> None:
        """What was made ready for RETR is no answer to TOP."""
        case = Case(b"one\r\n", b"two\r\n", b".three\r\n")
        case.whole(0)
        case.bodies.reply(1)
        case.bodies.look_ahead(())

        assert case.whole(2) == b".three\r\n"

    def test_the_next_ones_are_read_when_that_takes_a_moment(self) -> None:
        """While the client reads, not when it waits."""
        case = self._at_the_end_of_what_was_read()
        assert case.maildrops.reads == [16]

        case.bodies.look_ahead(())

        assert case.maildrops.reads == [16, 50]
        assert case.bodies.reply(16) == reply_of(90, b"x" * 90 + END)

    def test_where_that_takes_time_reading_is_as_it_was(self) -> None:
        """On a server's database nothing can be had in a moment."""
        contents = [b"%d\r\n" % number for number in range(200)]
        case = Case(*contents)

        for index, content in enumerate(contents):
            reply = case.bodies.reply(index)
            assert reply in (None, reply_of(len(content), content + b".\r\n"))
            if reply is None:
                case.whole(index)
            case.bodies.look_ahead(())

        assert case.maildrops.reads == [16, 50, 50, 50, 34]

    def test_without_room_nothing_is_made_ready(self) -> None:
        """What is ready counts, too."""
        case = Case(*[b"x" * 400] * 3, room=1250)
        case.whole(0)
        case.bodies.reply(1)
        case.bodies.look_ahead(())
        assert case.room.free == 1250 - 400 - len(reply_of(400, b"x" * 400 + END))
        case.bodies.forget()
        assert case.room.free == 1250

        case.maildrops.glances = True
        case.whole(0)
        case.bodies.reply(1)
        case.room.free -= 500
        case.bodies.look_ahead(())

        assert case.room.free == 1250 - 500 - 400
        assert case.bodies.reply(2) == reply_of(400, b"x" * 400 + END)

    def test_what_is_ready_counts_with_its_dots(self) -> None:
        """A reply is larger than its message."""
        contents = [b".\r\n" * 100] * 3
        case = Case(*contents)
        case.whole(0)
        case.bodies.reply(1)
        case.room.free = 350

        case.bodies.look_ahead(())

        assert case.room.free == 350
        assert case.bodies.reply(2) == ok_message(300, contents[2])

    def test_what_is_marked_is_not_made_ready(self) -> None:
        """A client that deletes each message fetches none again."""
        case = self._at_the_end_of_what_was_read()

        case.bodies.look_ahead((16,))

        assert case.maildrops.reads == [16]

    def test_nothing_is_read_for_a_client_that_jumps(self) -> None:
        """Nobody knows what it wants next."""
        case = self._at_the_end_of_what_was_read()
        case.whole(70)

        case.bodies.look_ahead(())

        assert case.maildrops.reads == [16, 16]

    def test_nothing_is_ready_for_who_reads_tops(self) -> None:
        """It would be made for nothing."""
        case = Case(*[b"x" * 90] * 100)
        case.maildrops.glances = True
        for index in range(16):
            case.whole(index)
            case.bodies.look_ahead(())

        assert case.maildrops.reads == [16]

    def test_nothing_is_ready_behind_the_last(self) -> None:
        """Nor before the first."""
        case = Case(b"one\r\n", b"two\r\n")
        case.maildrops.glances = True
        case.bodies.look_ahead(())
        assert case.bodies.reply(0) is None
        case.whole(0)
        case.bodies.reply(1)

        case.bodies.look_ahead(())

        assert case.maildrops.reads == [2]

    def test_the_room_is_given_back(self) -> None:
        """Also for what was ready and never asked for."""
        case = Case(*[b"x" * 400] * 10)
        case.whole(0)
        case.bodies.reply(1)
        case.bodies.look_ahead(())

        case.bodies.forget()

        assert case.room.free == case.octets
        assert case.bodies.reply(2) is None

    def _at_the_end_of_what_was_read(self) -> Case:
        case = Case(*[b"x" * 90] * 100)
        case.maildrops.glances = True
        case.whole(0)
        for index in range(1, 15):
            case.bodies.reply(index)
            case.bodies.look_ahead(())
        case.bodies.reply(15)
        return case

    def test_a_fault_is_logged_and_harms_nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The client has its reply and has asked for nothing more."""
        case = self._at_the_end_of_what_was_read()

        def fail(*_: object) -> None:
            raise RuntimeError

        with monkeypatch.context() as patch, logs() as heard:
            patch.setattr(case.maildrops, "glance", fail)
            case.bodies.look_ahead(())
            case.bodies.look_ahead(())

        assert [event["log_failure"].type for event in faults(heard)] == [RuntimeError]
        assert case.room.free == case.octets
        assert case.retr(16) == reply_of(90, b"x" * 90 + END)
