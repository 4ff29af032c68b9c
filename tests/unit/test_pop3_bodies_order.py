"""Whatever order a client has, each message is read about once, and the memory comes back."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from mailsvc.pop3 import bodies
from mailsvc.pop3.replies import ok_message
from mailsvc.wire.dots import END
from tests.support.pop3_bodies import Case, now, reply_of

MANY = [b"%d\r\n" % number for number in range(300)]


def _replies(indexes: Iterable[int]) -> list[bytes]:
    return [reply_of(len(MANY[index]), MANY[index] + b".\r\n") for index in indexes]


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
        assert case.bodies.reply(42) == reply_of(5, b"..42\r\n.\r\n")
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
        assert case.retr(0) == reply_of(400, b"x" * 400 + END)
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
