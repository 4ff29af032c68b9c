"""Identifiers: in order of time, never twice."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.model.ids import NODES, IdSource, milliseconds_of

NOW = 1_800_000_000_000
"""Milliseconds."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Give a clock that the test sets: its only item is milliseconds."""
    moment = [NOW]
    monkeypatch.setattr(time, "time_ns", lambda: moment[0] * 1_000_000)
    return moment  # type: ignore[return-value]  # a list is what the tests see


def test_an_identifier_tells_its_time_and_fits_everywhere(clock: list[int]) -> None:
    """63 bits hold it until the year 2109."""
    assert milliseconds_of(IdSource(NODES - 1).next()) == NOW

    clock[0] = 2**42 - 1
    assert 0 < IdSource(NODES - 1).next() < 2**63


def test_it_grows_while_the_clock_stands_still(clock: list[int]) -> None:
    """Thousands in one millisecond differ and are in order."""
    source = IdSource(5)

    made = [source.next() for _ in range(10_000)]

    assert made == sorted(set(made))
    assert milliseconds_of(made[-1]) - clock[0] <= 10_000 // 1024 + 1


def test_two_processes_of_a_daemon_never_clash(clock: list[int]) -> None:
    """The daemon and the process that commits its deliveries make numbers at the same time."""
    sources = IdSource(5), IdSource(5, second=True)

    made = [source.next() for _ in range(3_000) for source in sources]

    assert len(set(made)) == len(made)
    assert milliseconds_of(made[-1]) - clock[0] <= 3_000 // 1024 + 1


def test_it_grows_when_the_clock_goes_back(clock: list[int]) -> None:
    """A corrected clock brings no number back."""
    source = IdSource()
    before = [source.next() for _ in range(100)]

    clock[0] -= 3_600_000
    after = [source.next() for _ in range(100)]

    assert before + after == sorted({*before, *after})


@given(steps=st.lists(st.integers(-5, 5), max_size=100))
def test_it_grows_whatever_the_clock_does(steps: list[int]) -> None:
    """However the clock jumps."""
    source, moment = IdSource(1), NOW
    last = 0
    with pytest.MonkeyPatch.context() as patch:
        for step in steps:
            moment += step
            patch.setattr(time, "time_ns", lambda at=moment: at * 1_000_000)
            made = source.next()
            assert made > last
            last = made


@given(steps=st.lists(st.tuples(st.integers(-2, 2), st.integers(1, 3000)), max_size=30))
def test_many_at_once_are_as_good_as_one_after_the_other(steps: list[tuple[int, int]]) -> None:
    """They grow, never repeat, and belong to their node and process."""
    moment = NOW
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: moment * 1_000_000)
        source, other = IdSource(3), IdSource(3, second=True)
        made, last = [source.next()], 0
        for step, count in steps:
            moment += step
            some = source.many(count)
            assert len(some) == count
            made += [*some, source.next()]
            last = other.next()
    assert made == sorted(set(made))
    assert last not in made
    assert all(number >> 11 & (NODES - 1) == 3 for number in made)


def test_threads_never_get_the_same(clock: list[int]) -> None:
    """The writers and the reactor share one source."""
    source = IdSource()
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: [source.next() for _ in range(2000)], range(4)))

    assert len({number for some in made for number in some}) == 8000
    assert all(some == sorted(some) for some in made)
    assert clock == [NOW]


def test_nodes_never_get_the_same(clock: list[int]) -> None:
    """Even in the same millisecond."""
    sources = [IdSource(number) for number in (0, 1, 512, NODES - 1)]
    sources[0].join(7)

    made = [source.next() for source in sources for _ in range(1000)]

    assert len(set(made)) == 4000
    assert clock == [NOW]


@pytest.mark.parametrize("number", [-1, NODES])
def test_a_nodes_number_has_limits(number: int) -> None:
    """A number that does not fit would look like another node's."""
    with pytest.raises(ValueError, match="between 0 and 1023"):
        IdSource(number)
