"""Work without a caller: it goes on when what it waits for is over, fails loudly and ends."""

import gc
from collections.abc import Callable, Generator
from types import coroutine
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from mailsvc.background import Background, Pause, begin

Over = Callable[[Pause], None]
BOTH_ENDS = pytest.mark.parametrize(
    ("over", "heard"), [(Pause.end, None), (lambda pause: pause.fail(KeyError()), KeyError)]
)
"""How a pause is over, and what is heard of it."""


class Work:
    """Works that note what they hear, in order."""

    def __init__(self) -> None:
        self.background = Background()
        self.heard: list[Any] = []

    def start(self, *waits: Deferred[Any]) -> None:
        """Start a work that waits for one thing after the other."""
        self.background.start(self.wait(*waits), "a work")

    async def wait(self, *waits: Deferred[Any]) -> str:
        """Wait for one thing after the other."""
        for one in waits:
            try:
                self.heard.append(await further_down(one))
            except Exception as error:  # noqa: BLE001 - it is noted, whatever it is
                self.heard.append(type(error))
        self.heard.append("end")
        return "done"


async def further_down(wait: Deferred[Any]) -> Any:
    """Wait in a coroutine that another one waits for."""
    return await wait


@coroutine
def yield_all(waits: list[Deferred[Any]]) -> Generator[Deferred[Any], Any, list[Any]]:
    """Yield Deferreds that have fired, which ``await`` never does."""
    results: list[Any] = []
    for one in waits:
        result = yield one
        results += [result]
    return results


def outcome(answer: Any) -> Any:
    """Tell what a Deferred gives, or the type of its error; None: nothing yet."""
    told: list[Any] = []
    assert isinstance(answer, Deferred)
    _ = answer.addBoth(told.append)
    if not told:
        return None
    return told[0].type if isinstance(told[0], Failure) else told[0]


class TestStart:
    """What ``Background`` drives."""

    def test_work_that_never_waits_has_ended_at_once(self) -> None:
        """It needs no reactor."""
        work = Work()

        work.start()

        assert work.heard == ["end"]
        assert len(work.background) == 0

    def test_work_waits_for_what_comes_and_not_for_what_is_there(self) -> None:
        """Each result arrives in its place."""
        work, later = Work(), Deferred[str]()

        work.start(succeed("there"), later, succeed("too"))
        assert work.heard == ["there"]
        assert len(work.background) == 1
        later.callback("late")

        assert work.heard == ["there", "late", "too", "end"]
        assert len(work.background) == 0

    def test_a_chain_is_waited_for_to_its_end(self) -> None:
        """A Deferred whose callback gives another one has no result yet."""
        work, last = Work(), Deferred[str]()

        work.start(succeed(None).addCallback(lambda _: last))
        assert work.heard == []
        last.callback("at last")

        assert work.heard == ["at last", "end"]

    def test_an_error_is_raised_where_the_work_waits(self) -> None:
        """One that is there, and one that comes."""
        work, later = Work(), Deferred[str]()

        work.start(fail(KeyError()), later)
        later.errback(ValueError())

        assert work.heard == [KeyError, ValueError, "end"]

    def test_results_that_are_there_need_no_deeper_stack(self) -> None:
        """Ten thousand take no more of it than one."""
        work = Work()

        async def hear_all() -> None:
            work.heard += await yield_all([succeed(1) for _ in range(10_000)])

        work.start(*(succeed(1) for _ in range(10_000)))
        work.background.start(hear_all(), "other awaitables")

        assert work.heard == [*[1] * 10_000, "end", *[1] * 10_000]

    def test_a_failure_is_logged_by_name(self) -> None:
        """Nobody else would hear of it."""
        background = Background()

        with capturedLogs() as told:
            background.start(further_down(fail(KeyError("lost"))), "the night round")

        assert [event["name"] for event in told] == ["the night round"]
        assert told[0]["log_failure"].check(KeyError)
        assert len(background) == 0

    @pytest.mark.parametrize("kind", [Deferred, Pause])
    def test_who_was_cancelled_has_not_failed(self, kind: type[Deferred[Any]]) -> None:
        """The service stops: that is no news."""
        background = Background()
        background.start(further_down(kind()), "a wait")

        with capturedLogs() as told:
            background.cancel()

        assert told == []
        assert len(background) == 0


class TestPause:
    """A wait for one thing."""

    @BOTH_ENDS
    def test_work_goes_on_at_once(self, over: Over, heard: object) -> None:
        """Before whoever ends the pause does anything else."""
        work, pause = Work(), Pause()
        work.start(pause)
        assert work.heard == []

        over(pause)

        assert work.heard == [heard, "end"]
        assert len(work.background) == 0

    @BOTH_ENDS
    def test_a_pause_that_is_over_already_holds_nobody_up(self, over: Over, heard: object) -> None:
        """Neither in the background nor elsewhere."""
        work, ours, theirs = Work(), Pause(), Pause()
        over(ours)
        over(theirs)

        work.start(ours)
        answer = Deferred.fromCoroutine(work.wait(theirs))

        assert work.heard == [heard, "end"] * 2
        assert outcome(answer) == "done"

    @BOTH_ENDS
    def test_elsewhere_it_is_a_deferred(self, over: Over, heard: object) -> None:
        """Whoever drives the coroutine."""
        work, pause = Work(), Pause()
        answer = Deferred.fromCoroutine(work.wait(pause))
        assert work.heard == []

        over(pause)

        assert work.heard == [heard, "end"]
        assert outcome(answer) == "done"

    @BOTH_ENDS
    def test_a_work_may_wait_for_other_drivers(self, over: Over, heard: object) -> None:
        """What they pause for reaches the work through their Deferreds."""
        work, pause = Work(), Pause()
        begun = begin(further_down(pause))
        assert isinstance(begun, Deferred)
        work.start(Deferred.fromCoroutine(further_down(begun)))
        assert work.heard == []

        over(pause)

        assert work.heard == [heard, "end"]

    def test_works_may_end_the_pauses_of_each_other(self) -> None:
        """No work goes on while it still runs, and none misses the end of its pause."""
        work, question, answer = Work(), Pause(), Pause()

        async def reply() -> None:
            await question
            work.heard.append("asked")
            answer.end()
            work.heard.append("answered")

        async def ask() -> None:
            question.end()
            await answer
            work.heard.append("heard")

        work.background.start(reply(), "a reply")
        work.background.start(ask(), "a question")

        assert work.heard == ["asked", "answered", "heard"]
        assert len(work.background) == 0

    def test_many_pauses_need_no_deeper_stack(self) -> None:
        """Ten thousand take no more of it than one."""
        work, pauses = Work(), [Pause() for _ in range(10_000)]
        work.start(*pauses)

        for one in pauses:
            one.end()

        assert work.heard == [*[None] * 10_000, "end"]


class TestCancel:
    """The end of work that is not wanted any more."""

    @pytest.mark.parametrize("kind", [Deferred, Pause])
    def test_it_is_raised_where_the_work_waits(self, kind: type[Deferred[Any]]) -> None:
        """The work may tidy up, and even wait for that."""
        work, tidied = Work(), Pause()
        work.start(kind(), tidied)

        work.background.cancel()
        assert work.heard == [CancelledError]
        tidied.end()

        assert work.heard == [CancelledError, None, "end"]

    @BOTH_ENDS
    def test_the_late_end_of_a_pause_disturbs_nobody(self, over: Over, heard: object) -> None:
        """The work waits for something else by now, or has ended."""
        del heard
        work, late, other = Work(), Pause(), Pause()
        work.start(late, other)
        work.background.cancel()

        over(late)
        assert work.heard == [CancelledError]
        other.end()
        over(late)

        assert work.heard == [CancelledError, None, "end"]

    @BOTH_ENDS
    def test_elsewhere_it_disturbs_nobody_either(self, over: Over, heard: object) -> None:
        """Whoever cancels a Deferred knows nothing of the pause behind it."""
        del heard
        work, late, other = Work(), Pause(), Pause()
        answer = Deferred.fromCoroutine(work.wait(late, other))
        answer.cancel()

        over(late)
        assert work.heard == [CancelledError]
        other.end()

        assert work.heard == [CancelledError, None, "end"]

    def test_it_reaches_through_other_drivers(self) -> None:
        """What a work waits for is cancelled with it."""
        work, heard = Work(), Work()
        work.start(Deferred.fromCoroutine(heard.wait(Pause())))

        work.background.cancel()

        assert heard.heard == [CancelledError, "end"]
        assert work.heard == ["done", "end"]

    def test_work_that_has_ended_meanwhile_is_left_alone(self) -> None:
        """One work may end because another one was cancelled."""
        work, pause = Work(), Pause()

        async def end_the_other() -> None:
            try:
                await Pause()
            finally:
                pause.end()

        work.background.start(end_the_other(), "an end")
        work.start(pause)

        work.background.cancel()

        assert work.heard == [None, "end"]
        assert len(work.background) == 0


class TestDrain:
    """The wait for the end of all work."""

    def test_it_waits_for_work_that_began_meanwhile(self) -> None:
        """Whoever stops a service misses nobody."""
        work, first, second = Work(), Pause(), Pause()
        work.start(first)
        drained = [Deferred.fromCoroutine(work.background.drain()) for _ in range(2)]

        work.start(second)
        first.end()
        assert not any(one.called for one in drained)
        second.end()

        assert all(one.called for one in drained)

    def test_work_that_begins_at_the_last_moment_is_waited_for(self) -> None:
        """Whoever hears first that all is over may begin something new."""
        work, first, second = Work(), Pause(), Pause()
        work.start(first)
        _ = Deferred.fromCoroutine(work.background.drain()).addCallback(
            lambda _: work.start(second)
        )
        drained = Deferred.fromCoroutine(work.background.drain())

        first.end()
        assert not drained.called
        second.end()

        assert drained.called

    def test_nothing_to_wait_for_is_over_at_once(self) -> None:
        """No work, no wait."""
        assert Deferred.fromCoroutine(Background().drain()).called

    def test_late_work_is_cancelled(self) -> None:
        """The patience of a service that stops has an end."""
        work, clock = Work(), Clock()
        work.start(Pause())
        drained = Deferred.fromCoroutine(work.background.drain_within(clock, 10))

        clock.advance(9)
        assert work.heard == []
        clock.advance(1)

        assert work.heard == [CancelledError, "end"]
        assert drained.called

    def test_work_in_time_is_not(self) -> None:
        """And no timer is left."""
        work, clock, pause = Work(), Clock(), Pause()
        work.start(pause)
        drained = Deferred.fromCoroutine(work.background.drain_within(clock, 10))

        pause.end()

        assert drained.called
        assert not clock.getDelayedCalls()


class TestBegin:
    """Work that mostly does not wait."""

    def test_what_is_there_is_given_as_it_is(self) -> None:
        """No Deferred is made for it."""
        assert begin(further_down(succeed("there"))) == "there"

    def test_an_error_at_once_is_raised(self) -> None:
        """As a plain call does."""
        with pytest.raises(KeyError):
            begin(further_down(fail(KeyError())))

    @pytest.mark.parametrize("kind", [Deferred, Pause])
    def test_a_wait_gives_a_deferred(self, kind: type[Deferred[Any]]) -> None:
        """It has the result of the work, after all its waits."""
        work, first, second = Work(), kind(), kind()

        answer = begin(work.wait(first, second))
        first.callback(None)
        assert work.heard == [None]
        second.callback(None)

        assert outcome(answer) == "done"

    def test_an_error_later_is_that_of_the_deferred(self) -> None:
        """Raised in the work first, which may answer it."""
        work, first, second = Work(), Pause(), Deferred[str]()

        answered = begin(work.wait(first))
        not_answered = begin(further_down(second))
        first.fail(KeyError())
        second.errback(ValueError())

        assert work.heard == [KeyError, "end"]
        assert outcome(answered) == "done"
        assert outcome(not_answered) is ValueError

    @pytest.mark.parametrize("kind", [Deferred, Pause])
    def test_who_cancels_the_deferred_cancels_the_work(self, kind: type[Deferred[Any]]) -> None:
        """Where it waits, at first and later."""
        work, first, second = Work(), kind(), kind()
        answer = begin(work.wait(first, second))
        assert isinstance(answer, Deferred)

        answer.cancel()
        answer.cancel()

        assert work.heard == [CancelledError, CancelledError, "end"]
        assert outcome(answer) == "done"

    def test_work_that_is_given_up_tidies_up(self) -> None:
        """Nobody waits for its end: its ``finally`` is run all the same, and without a noise."""
        tidied: list[bool] = []

        async def tidy() -> None:
            try:
                await Pause()
            finally:
                tidied.append(True)

        assert isinstance(begin(tidy()), Deferred)
        gc.collect()

        assert tidied == [True]
