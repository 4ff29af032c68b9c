"""Reading ahead of a client that goes through its maildrop."""

import random
from collections.abc import Container, Coroutine, Iterable
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailsvc.errors import StorageFailed
from mailsvc.model.maildrop import Snapshot
from mailsvc.pop3 import bodies
from mailsvc.pop3.bodies import AheadRoom, Bodies, MessageGone
from mailsvc.pop3.replies import ok_message
from mailsvc.wire.dots import END
from tests.support.pop3_maildrops import MemoryMaildrops, make_account
from tests.support.pop3_talk import faults, logs

Result = TypeVar("Result")


def now(work: Coroutine[Deferred[Any], Any, Result]) -> Result:
    """Give what needs no waiting."""
    results: list[Any] = []
    _ = Deferred.fromCoroutine(work).addBoth(results.append)
    (result,) = results
    if hasattr(result, "raiseException"):
        result.raiseException()
    return result  # type: ignore[no-any-return]  # what the Deferred fired with


class Case:
    """A maildrop and its bodies."""

    def __init__(self, *contents: bytes, room: int = 10_000_000, inline: int = 64 * 1024) -> None:
        self.account = make_account(1)
        self.maildrops = MemoryMaildrops(Clock(), inline)
        self.maildrops.fill(self.account, *contents)
        self.room = AheadRoom(room)
        self.octets = room
        self.snapshot: Snapshot = now(self.maildrops.open(self.account, 60.0))
        self.bodies = Bodies(self.maildrops, self.snapshot, self.room)

    def whole(self, index: int, *unwanted: int) -> bytes | None:
        """Fetch one."""
        return now(self.bodies.whole(index, unwanted))

    def top(self, index: int, unwanted: Container[int] = ()) -> bytes | None:
        """Fetch one as TOP does."""
        return now(self.bodies.whole(index, unwanted, keep=True))

    def retr(self, index: int, unwanted: Container[int] = ()) -> bytes:
        """Fetch one as RETR does, and work ahead behind it."""
        reply = self.bodies.reply(index)
        if reply is None:
            body = now(self.bodies.whole(index, unwanted))
            assert body is not None
            reply = ok_message(self.snapshot.octets[index], body)
        self.bodies.look_ahead(unwanted)
        return reply


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


def _reply(octets: int, text: bytes) -> bytes:
    return b"+OK %d octets\r\n%b" % (octets, text)


class TestAhead:
    """What is made ready while the client reads."""

    def test_the_next_message_is_ready(self) -> None:
        """With its dots."""
        case = Case(b"one\r\n", b"two\r\n", b".three\r\n", b"four\r\n")
        case.whole(0)
        case.bodies.reply(1)

        case.bodies.look_ahead(())

        assert case.bodies.reply(2) == _reply(8, b"..three\r\n.\r\n")
        assert case.bodies.reply(3) == _reply(6, b"four\r\n.\r\n")
        assert case.bodies.reply(4) is None

    def test_another_message_than_the_next_is_right_too(self) -> None:
        """Clients may jump."""
        case = Case(b"one\r\n", b"two\r\n", b"three\r\n", b"four\r\n")
        case.whole(0)
        case.bodies.reply(1)
        case.bodies.look_ahead(())

        assert case.bodies.reply(3) == _reply(6, b"four\r\n.\r\n")
        assert case.bodies.reply(2) == _reply(7, b"three\r\n.\r\n")

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
        assert case.bodies.reply(16) == _reply(90, b"x" * 90 + END)

    def test_where_that_takes_time_reading_is_as_it_was(self) -> None:
        """On a server's database nothing can be had in a moment."""
        contents = [b"%d\r\n" % number for number in range(200)]
        case = Case(*contents)

        for index, content in enumerate(contents):
            reply = case.bodies.reply(index)
            assert reply in (None, _reply(len(content), content + b".\r\n"))
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
        assert case.room.free == 1250 - 400 - len(_reply(400, b"x" * 400 + END))
        case.bodies.forget()
        assert case.room.free == 1250

        case.maildrops.glances = True
        case.whole(0)
        case.bodies.reply(1)
        case.room.free -= 500
        case.bodies.look_ahead(())

        assert case.room.free == 1250 - 500 - 400
        assert case.bodies.reply(2) == _reply(400, b"x" * 400 + END)

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
        assert case.retr(16) == _reply(90, b"x" * 90 + END)


MANY = [b"%d\r\n" % number for number in range(300)]


def _replies(indexes: Iterable[int]) -> list[bytes]:
    return [_reply(len(MANY[index]), MANY[index] + b".\r\n") for index in indexes]


@pytest.fixture(params=[False, True], ids=["waits", "glances"])
def many(request: pytest.FixtureRequest) -> Case:
    """300 small messages, where a read takes time or a moment."""
    case = Case(*MANY)
    case.maildrops.glances = request.param
    return case


class TestDirections:
    """A body is read about once, whichever way a client goes."""

    def test_upwards(self, many: Case) -> None:
        """The oldest first, as most clients do."""
        assert [many.retr(index) for index in range(300)] == _replies(range(300))
        assert many.maildrops.reads == [16, 50, 50, 50, 50, 50, 34]

    def test_downwards(self, many: Case) -> None:
        """The newest first."""
        down = range(299, -1, -1)

        assert [many.retr(index) for index in down] == _replies(down)
        assert many.maildrops.reads == [1, 16, 50, 50, 50, 50, 50, 33]

    def test_downwards_with_marks(self, many: Case) -> None:
        """Each is deleted once it is there; others were before."""
        marks = {7, 8, 9, 200, 201, *range(283, 290)}

        for index in range(299, -1, -1):
            if index not in marks:
                many.retr(index, marks)
                marks.add(index)

        assert many.maildrops.reads == [1, 16, 50, 50, 50, 50, 50, 21]

    def test_downwards_with_gaps(self, many: Case) -> None:
        """Upwards they bring no further queries either."""
        for index in (299, *range(298, -1, -2)):
            many.retr(index)

        assert many.maildrops.reads == [1, 16, 50, 50, 50, 50, 50, 33]

    def test_downwards_the_limits_hold(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A session holds as little as upwards."""
        monkeypatch.setattr(bodies, "MOST_AHEAD", 1000)
        case = Case(*[b"x" * 400] * 5)

        for index in range(4, -1, -1):
            case.whole(index)
            assert case.room.free >= case.octets - 400

        assert case.maildrops.reads == [1, 2, 2]

    def test_the_next_one_below_is_ready(self) -> None:
        """With its dots, and read while the client reads."""
        case = Case(*[b".%d\r\n" % number for number in range(60)])
        case.maildrops.glances = True
        for index in range(59, 43, -1):
            case.retr(index)
        assert case.maildrops.reads == [1, 16]

        case.retr(43)
        assert case.bodies.reply(42) == _reply(5, b"..42\r\n.\r\n")
        case.bodies.look_ahead(())

        assert case.maildrops.reads == [1, 16, 43]

    def test_nothing_is_below_the_first(self) -> None:
        """The last message of the maildrop does not come next."""
        case = Case(*[b"x\r\n"] * 3)
        case.maildrops.glances = True

        for index in (2, 1, 0):
            case.retr(index)

        assert case.maildrops.reads == [1, 2]
        assert case.room.free == case.octets

    def test_a_client_may_turn_round(self, many: Case) -> None:
        """It is followed at once."""
        ways = [*range(100, 110), *range(99, 90, -1), *range(110, 120)]

        assert [many.retr(index) for index in ways] == _replies(ways)
        assert many.maildrops.reads == [16, 16, 16]

    def test_a_longer_step_back_is_a_jump(self, many: Case) -> None:
        """TOP of some, then RETR of the same: the client still goes upwards."""
        for index in range(20):
            many.top(index)

        assert [many.retr(index) for index in range(20)] == _replies(range(20))
        assert many.maildrops.reads == [16, 50, 16, 50]

    def test_jumps_cost_no_more_than_sixteen_bodies(self, many: Case) -> None:
        """Nobody knows where the next one goes."""
        jumps = [index * 101 % 300 for index in range(300)]

        assert [many.retr(index) for index in jumps] == _replies(jumps)
        assert max(many.maildrops.reads) <= 16


class TestTops:
    """What TOP has read serves the RETR behind it."""

    def test_a_top_before_each_message(self, many: Case) -> None:
        """Many clients look at the header first."""
        for index in range(300):
            assert many.top(index) == MANY[index]
            assert [many.retr(index)] == _replies([index])

        assert many.maildrops.reads == [16, 50, 50, 50, 50, 50, 34]

    def test_a_top_before_each_message_downwards(self, many: Case) -> None:
        """The newest first."""
        for index in range(299, -1, -1):
            assert many.top(index) == MANY[index]
            assert [many.retr(index)] == _replies([index])

        assert many.maildrops.reads == [1, 16, 50, 50, 50, 50, 50, 33]

    def test_a_top_before_each_message_that_is_then_deleted(self, many: Case) -> None:
        """Marks change nothing."""
        marks: set[int] = set()
        for index in range(300):
            many.top(index, marks)
            many.retr(index, marks)
            marks.add(index)

        assert many.maildrops.reads == [16, 50, 50, 50, 50, 50, 34]

    def test_tops_of_all(self, many: Case) -> None:
        """The view of a web mail, or a spam filter's."""
        for index in range(300):
            many.top(index)
            many.bodies.look_ahead(())

        assert many.maildrops.reads == [16, 50, 50, 50, 50, 50, 34]

    def test_tops_of_all_hold_little(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What nobody fetches stays until the next query, and not for ever."""
        monkeypatch.setattr(bodies, "MOST_AHEAD", 1000)
        case = Case(*[b"x" * 400] * 10)

        for index in range(10):
            case.top(index)
            assert case.room.free == case.octets - 800

        assert case.maildrops.reads == [2] * 5
        case.bodies.forget_unused()
        case.bodies.forget_unused()
        assert case.room.free == case.octets

    def test_one_that_is_too_large_is_not_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The limit of a session holds for TOP, too."""
        monkeypatch.setattr(bodies, "MOST_AHEAD", 1000)
        case = Case(b"x" * 1001, b"x" * 1000)

        case.top(0)
        assert case.room.free == case.octets
        case.top(1)
        assert case.room.free == case.octets - 1000

    def test_without_room_nothing_is_kept(self) -> None:
        """The memory of all sessions is no less spent by TOP."""
        case = Case(*[b"x" * 400] * 3, room=399)

        case.top(0)

        assert case.room.free == 399
        assert case.retr(0) == _reply(400, b"x" * 400 + END)
        assert case.room.free == 399

    def test_a_message_in_chunks_is_known_as_such(self) -> None:
        """The RETR behind needs no query to find that out."""
        case = Case(b"x" * 250, inline=100)

        assert case.top(0) is None
        assert case.bodies.reply(0) is None
        assert case.whole(0) is None
        assert case.maildrops.reads == [1]


def test_two_reads_at_once_hold_nothing_twice() -> None:
    """Twisted's mailboxes may be asked for two messages at the same time."""
    case = Case(*[b"x" * 400] * 40)
    results: list[bytes | None] = []
    gates: list[Deferred[None]] = []
    for index in (0, 20):
        gates.append(Deferred())
        case.maildrops.gates["read"] = gates[-1]
        reading = Deferred.fromCoroutine(case.bodies.whole(index, ()))
        _ = reading.addCallback(results.append)

    for gate in gates:
        gate.callback(None)

    assert results == [b"x" * 400] * 2
    assert case.room.free == case.octets - 15 * 400
    case.bodies.forget()
    assert case.room.free == case.octets


_DROP = [b"%d\r\n.%b\r\n" % (number, b"x" * (number * 37 % 500)) for number in range(40)]
_indexes = st.integers(0, len(_DROP) - 1)
_steps = st.one_of(
    st.tuples(st.sampled_from(["reply", "retr", "whole", "top", "mark"]), _indexes),
    st.tuples(st.sampled_from(["retr", "top and retr"]), st.sampled_from(["next", "previous"])),
    st.tuples(st.sampled_from(["look_ahead", "forget", "forget_unused"]), st.none()),
)


class _Player:
    """Plays what any client may ask for, and checks each answer and the memory."""

    def __init__(self, room: int, others: int, *, glances: bool) -> None:
        self.case = Case(*_DROP, room=room, inline=400)
        self.case.maildrops.glances = glances
        self.case.room.free -= others
        self.start = self.case.room.free
        self.marks: set[int] = set()
        self.last = 20

    def play(self, what: str, where: int | str | None) -> None:
        """Take one step."""
        bodies_ = self.case.bodies
        if where is None:
            bodies_.look_ahead(self.marks) if what == "look_ahead" else getattr(bodies_, what)()
        else:
            index = where if isinstance(where, int) else self._beside(where)
            if what == "mark":
                self.marks.add(index)
            else:
                self._fetch(what, index)
        assert min(self.start, 0) <= self.case.room.free <= self.start

    def _beside(self, where: str) -> int:
        return (self.last + (1 if where == "next" else -1)) % len(_DROP)

    def _fetch(self, what: str, index: int) -> None:
        self.last, bodies_ = index, self.case.bodies
        expected = _DROP[index] if len(_DROP[index]) <= self.case.maildrops.inline else None
        if what.startswith(("top", "whole")):
            keep = what != "whole"
            assert now(bodies_.whole(index, self.marks, keep=keep)) == expected
        if what.endswith(("retr", "reply")):
            reply = bodies_.reply(index)
            if reply is not None:
                assert expected is not None
                assert reply == ok_message(len(expected), expected)
            elif what != "reply":
                assert now(bodies_.whole(index, self.marks)) == expected
            bodies_.look_ahead(self.marks)


@given(st.lists(_steps, max_size=60), st.integers(0, 6000), st.integers(0, 6000), st.booleans())
def test_whatever_a_client_does_the_memory_comes_back(
    steps: list[tuple[str, int | str | None]],
    room: int,
    others: int,
    glances: bool,  # noqa: FBT001 - drawn by Hypothesis
) -> None:
    """And each answer is the right message, however much memory there is."""
    player = _Player(room, others, glances=glances)

    for what, where in steps:
        player.play(what, where)
    player.case.bodies.forget()

    assert player.case.room.free == player.start


@given(st.randoms(use_true_random=False), st.booleans())
def test_any_order_costs_no_more_than_a_jump_each(
    order: random.Random,
    glances: bool,  # noqa: FBT001 - drawn by Hypothesis
) -> None:
    """A client that asks for each message once, in an order of its own."""
    case = Case(*MANY)
    case.maildrops.glances = glances
    indexes = order.sample(range(300), 40)

    assert [case.retr(index) for index in indexes] == _replies(indexes)
    assert len(case.maildrops.reads) <= 40
