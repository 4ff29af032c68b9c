"""Writes that another process can do for us."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection

from mailsvc.model.ids import IdSource
from mailsvc.store.transactions import BatchQuery

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
