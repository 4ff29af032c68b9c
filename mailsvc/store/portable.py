"""Writes that another process can do for us."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection

from mailsvc.model.ids import IdSource
from mailsvc.store.transactions import BatchQuery

Query = TypeVar("Query", bound=Callable[..., Any])
Recipe = Callable[[IdSource], BatchQuery[Any, Any]]
"""
Makes a query in the process that runs it, with that process's source of numbers.

It can be pickled, and equal recipes make queries that write alike.
"""


class PortableQuery(ABC):
    """A ``BatchQuery`` that another process can run; its answers can be pickled."""

    @property
    @abstractmethod
    def recipe(self) -> Recipe:
        """Makes the same query there."""

    @abstractmethod
    def parcel(self, item: Any) -> Any | None:
        """
        Give an item as another process can take it; on the reactor's thread, at once.

        Returns:
            What can be pickled; None: it must be written here.
        """

    @abstractmethod
    def __call__(self, connection: Connection, items: Sequence[Any]) -> Sequence[Any]:
        """Write many items."""

    def again(self, connection: Connection, items: Sequence[Any]) -> Sequence[Any]:
        """
        Write what is not written yet; a ``BatchQuery``.

        The process has ended before it could tell what became of these items, and nobody else
        has written since. None is written twice.
        """
        return self(connection, items)


class Call(NamedTuple):
    """
    A query that changes the database, with its arguments.

    Args:
        query: A function of a module, marked by ``portable`` when another process can run it.
    """

    query: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


_PORTABLE: set[Callable[..., Any]] = set()


def portable(query: Query) -> Query:
    """Mark a query that another process can run: all that goes in and out can be pickled."""
    _PORTABLE.add(query)
    return query


class Calls(PortableQuery):
    """Runs each of some queries of any kind; a ``BatchQuery``."""

    @property
    def recipe(self) -> Recipe:
        """Makes the same there."""
        return _calls

    def parcel(self, item: Call) -> Call | None:
        """Give what was marked."""
        return item if item.query in _PORTABLE else None

    def __call__(self, connection: Connection, items: Sequence[Call]) -> Sequence[Any]:
        """Run them."""
        return [one.query(connection, *one.args, **one.kwargs) for one in items]


CALLS = Calls()


def _calls(_: IdSource) -> Calls:
    return CALLS
