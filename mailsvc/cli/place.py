"""Where the daemon is, and how a command gets to it and to its user."""

import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

if TYPE_CHECKING:  # it takes 0.2 s to load, which help and usage errors need not wait for
    from mailsvc.control.client import ControlClient
    from mailsvc.model.page import Page

Result = TypeVar("Result")
Row = TypeVar("Row")
Conversation = Callable[["ControlClient"], Coroutine[Any, Any, Result]]
"""What a command says to the daemon."""


class Talk(Protocol):
    """Connects, holds a conversation and gives its result."""

    def __call__(self, path: Path, conversation: Conversation[Result], /) -> Result:
        """Raise what the conversation raises, or ``NotReachable``."""
        ...


def talk_by_socket(path: Path, conversation: Conversation[Result]) -> Result:
    """Talk to the real daemon."""
    from mailsvc.cli.talk import talk

    return talk(path, conversation)


def has_terminal() -> bool:
    """Tell whether somebody can be asked."""
    return sys.stdin.isatty()


@dataclass(frozen=True)
class Doors:
    """
    The ways out of the program; tests have others.

    Args:
        talk: To the daemon.
        interactive: Whether somebody can be asked.
    """

    talk: Talk = talk_by_socket
    interactive: Callable[[], bool] = has_terminal


@dataclass(frozen=True)
class Place:
    """
    What every command knows.

    Args:
        config: The daemon's configuration.
        socket: The control socket; None: the configuration says where it is.
        doors: The ways out.
    """

    config: Path
    socket: Path | None
    doors: Doors

    def talk(self, conversation: Conversation[Result]) -> Result:
        """
        Hold a conversation with the daemon.

        Raises:
            ConfigError: The configuration cannot be read.
            NotReachable: There is no daemon.
            OperatorError: What the daemon answers.
        """
        return self.doors.talk(self.socket or self._configured(), conversation)

    def _configured(self) -> Path:
        from mailsvc.config.load import load

        return load(self.config).control_socket


async def all_rows(ask: "Callable[[str], Awaitable[Page[Row]]]") -> list[Row]:
    """Ask for page after page of a list; *ask* takes where one begins."""
    page = await ask("")
    found = list(page.rows)
    while page.next is not None:
        page = await ask(page.next)
        found += page.rows
    return found


pass_place = click.make_pass_decorator(Place)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def examples(*lines: str) -> str:
    """Write the end of a help text; the mark at its start keeps Click from filling lines."""
    title = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(("\b", title, *(f"  {line}" for line in lines)))
