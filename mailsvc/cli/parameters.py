"""Values on the command line that several commands read."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

NONE = "none"
"""Takes a limit away."""


class SizeOrNone(click.ParamType["int"]):
    """A size as in config.yaml; "none" is 0."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        from mailsvc.config.units import parse_octets

        if value == NONE:
            return 0
        try:
            return parse_octets(value)
        except ValueError as error:
            self.fail(f'{value!r}: {error}; or "{NONE}"', param, ctx)


class Span(click.ParamType["timedelta"]):
    """A time as in config.yaml: 90s, 30m, 2h, 7d."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read it."""
        from mailsvc.config.units import parse_age

        if isinstance(value, timedelta):
            return value
        try:
            return timedelta(seconds=parse_age(value))
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


class Moment(click.ParamType["datetime"]):
    """A moment: a time ago, such as 2h, or a date with or without a time of day, in UTC."""

    name = "moment"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read it."""
        from mailsvc.config.units import parse_age

        if isinstance(value, datetime):
            return value
        with suppress(ValueError):
            return datetime.now(UTC) - timedelta(seconds=parse_age(value))
        try:
            read = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither 2h (ago) nor 2026-11-24T10:00", param, ctx)
        return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


def for_option(what: str) -> Callable[[Command], Command]:
    """Give a command the option --for; *what* happens then."""
    text = f"For so long, such as 30m, 2h or 7d; then {what} by itself."
    return click.option("--for", "span", type=Span(), help=text)


def messages_or_none(text: str | None) -> int | None:
    """Read an option for a number of messages; None: it was not given."""
    return None if text is None else number_or_none(text)


def number_or_none(text: str) -> int:
    """Read a number, 1 at least; "none" is 0."""
    if text == NONE:
        return 0
    if not text.isascii() or not text.isdigit() or not int(text[:19]) > 0:
        raise click.BadParameter(f'{text!r} is no number of messages; write 1000, or "{NONE}"')
    return int(text)
