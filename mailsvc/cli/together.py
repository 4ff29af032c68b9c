"""Do some things at the same time, but not too many."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar, cast

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

Item = TypeVar("Item")


async def together(
    work: Callable[[Item], Awaitable[None]], items: Sequence[Item], most: int
) -> None:
    """
    Do the work for all items, *most* at a time; the first error ends it.

    Args:
        work: Begins the work for one item.
    """
    left: Iterator[Item] = iter(items)

    async def go_on() -> None:
        for item in left:
            await work(item)

    lines = [Deferred.fromCoroutine(go_on()) for _ in range(min(most, len(items)))]
    done = await DeferredList(lines, fireOnOneErrback=False, consumeErrors=True)
    for succeeded, result in done:
        if not succeeded:
            cast("Failure", result).raiseException()
