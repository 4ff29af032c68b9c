"""
Values as boxes of AMP: the shape of a command is that of the value that travels in it.

A field with a default, or one that may be None, is optional on the wire, so a later version
can add fields: what is missing keeps its default, and what is unknown is ignored.
"""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from twisted.protocols.amp import (
    AmpList,
    Argument,
    DateTime,
    Float,
    Integer,
    ListOf,
    String,
    Unicode,
)
from twisted.protocols.amp import Boolean as Truth

from mailsvc.model.address import Address, parse_address

Value = TypeVar("Value")
Arguments = list[tuple[bytes, Argument]]


class Word(Argument):
    """One of an ``Enum``, by its value."""

    def __init__(self, kind: type[Enum], optional: bool = False) -> None:  # noqa: FBT001, FBT002 - AMP's
        super().__init__(optional)
        self._kind = kind

    def fromString(self, inString: bytes) -> Enum:  # noqa: N803 - AMP's spelling
        """Read it."""
        return self._kind(inString.decode())

    def toString(self, inObject: Enum) -> bytes:  # noqa: N803
        """Write it."""
        return str(inObject.value).encode()


class Mailbox(Argument):
    """An ``Address``."""

    def fromString(self, inString: bytes) -> Address:  # noqa: N803
        """Read it."""
        return parse_address(inString.decode(), utf8=True)

    def toString(self, inObject: Address) -> bytes:  # noqa: N803
        """Write it."""
        return str(inObject).encode()


class Moment(DateTime):
    """An aware datetime, UTC."""

    def fromString(self, s: bytes) -> datetime:
        """Read it."""
        moment: datetime = super().fromString(s)
        return moment.astimezone(UTC)


class Span(Argument):
    """A ``timedelta`` in microseconds."""

    def fromString(self, inString: bytes) -> timedelta:  # noqa: N803
        """Read it."""
        return timedelta(microseconds=int(inString))

    def toString(self, inObject: timedelta) -> bytes:  # noqa: N803
        """Write it."""
        return b"%d" % (inObject // timedelta(microseconds=1))


class Many(ListOf):
    """Several values of one kind, as a tuple or a frozenset."""

    def __init__(self, element: Argument, kind: type, optional: bool = False) -> None:  # noqa: FBT001, FBT002
        super().__init__(element, optional)
        self._kind = kind

    def fromString(self, inString: bytes) -> Any:  # noqa: N803
        """Read them."""
        return self._kind(super().fromString(inString))

    def toString(self, inObject: Iterable[Any]) -> bytes:  # noqa: N803
        """Write them; a set in one order, so that equal sets look equal."""
        given = inObject if isinstance(inObject, tuple) else sorted(inObject)
        text: bytes = super().toString(given)
        return text


class Rows(AmpList):
    """Several dataclasses of one kind."""

    def __init__(self, kind: type, optional: bool = False) -> None:  # noqa: FBT001, FBT002
        super().__init__(fields_of(kind), optional)
        self._kind = kind

    def fromStringProto(self, inString: bytes, proto: Any) -> tuple[Any, ...]:  # noqa: N803
        """Read them."""
        return tuple(build(self._kind, row) for row in super().fromStringProto(inString, proto))

    def toStringProto(self, inObject: Iterable[Any], proto: Any) -> bytes:  # noqa: N803
        """Write them."""
        text: bytes = super().toStringProto([box_of(one) for one in inObject], proto)
        return text


_PLAIN: dict[type, type[Argument]] = {
    str: Unicode,
    int: Integer,
    bool: Truth,
    float: Float,
    bytes: String,
    datetime: Moment,
    timedelta: Span,
    Address: Mailbox,
}


def fields_of(kind: type) -> Arguments:
    """
    Give the arguments of AMP that carry a dataclass.

    Raises:
        TypeError: It has a field that no box carries.
    """
    hints = get_type_hints(kind)
    return [
        (one.name.encode(), _argument(hints[one.name], optional=_has_default(one)))
        for one in fields(kind)
    ]


def build(kind: type[Value], found: Mapping[str, Any]) -> Value:
    """Make a dataclass of what a box held; what is missing keeps its default."""
    optional = {one.name for one in fields(kind) if _has_default(one)}  # type: ignore[arg-type]
    names = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    given = {name: found.get(name) for name in names}
    return kind(**{k: v for k, v in given.items() if v is not None or k not in optional})


def box_of(value: Any) -> dict[str, Any]:
    """Give the fields of a dataclass by name; None has none."""
    return {} if value is None else {one.name: getattr(value, one.name) for one in fields(value)}


def _has_default(one: Any) -> bool:
    return one.default is not MISSING or one.default_factory is not MISSING


def _argument(hint: Any, *, optional: bool = False) -> Argument:
    origin, inside = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        [hint] = [one for one in inside if one is not type(None)]
        return _argument(hint, optional=True)
    if origin in {tuple, frozenset}:
        if isinstance(inside[0], type) and is_dataclass(inside[0]) and inside[0] is not Address:
            return Rows(inside[0], optional)
        return Many(_argument(inside[0]), origin, optional)
    hint = getattr(hint, "__supertype__", hint)  # a NewType
    if isinstance(hint, type) and issubclass(hint, Enum):
        return Word(hint, optional)
    if hint in _PLAIN:
        return _PLAIN[hint](optional)
    raise TypeError(f"no box carries {hint}")
