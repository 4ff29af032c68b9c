"""Where the daemon is, and how a command gets to it and to its user."""

import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

if TYPE_CHECKING:  # it takes 0.2 s to load, which help and usage errors need not wait for
    from mailsvc.control.client import ControlClient
    from mailsvc.control.client.trust import Remote
    from mailsvc.model.page import Page

_PASSWORD = "MAILCTL_PASSWORD"  # noqa: S105 - the name of it

Result = TypeVar("Result")
Row = TypeVar("Row")
Conversation = Callable[["ControlClient"], Coroutine[Any, Any, Result]]
"""What a command says to the daemon."""


class Talk(Protocol):
    """Connects, holds a conversation and gives its result."""

    def __call__(self, place: "Path | Remote", conversation: Conversation[Result], /) -> Result:
        """Raise what the conversation raises, or ``NotReachable``."""
        ...


def talk_really(place: "Path | Remote", conversation: Conversation[Result]) -> Result:
    """Talk to the real daemon."""
    from mailsvc.cli.talk import talk

    return talk(place, conversation)


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

    talk: Talk = talk_really
    interactive: Callable[[], bool] = has_terminal


@dataclass(frozen=True)
class Elsewhere:
    """
    A daemon on another machine, as the command line says it.

    Args:
        host: Name or address, perhaps with a port.
        login: The administrator; empty: nobody logs in.
        password_file: Has his password in its first line; None: the environment has it, or
            it is asked for.
        ca: PEM file of authorities.
        fingerprint: Of the daemon's certificate.
    """

    host: str
    login: str
    password_file: Path | None
    ca: Path | None
    fingerprint: str

    def place(self) -> "Remote":
        """Tell where it is."""
        from mailsvc.control.client.trust import parse_place

        return parse_place(self.host, self.ca, self.fingerprint)

    def as_user(self, conversation: Conversation[Result]) -> Conversation[Result]:
        """Log in before a conversation; the password is found before anything is opened."""
        if not self.login:
            return conversation
        password = self._password()

        async def logged_in(client: "ControlClient") -> Result:
            await client.log_in(self.login, password)
            return await conversation(client)

        return logged_in

    def _password(self) -> bytes:
        if self.password_file is not None:
            try:
                return self.password_file.read_bytes().split(b"\n", 1)[0].removesuffix(b"\r")
            except OSError as error:
                raise click.BadParameter(f"{self.password_file}: {error.strerror}") from None
        given = os.environ.get(_PASSWORD)
        if given is None:
            given = click.prompt(f"Password of {self.login}", hide_input=True, err=True)
        return str(given).encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Place:
    """
    What every command knows.

    Args:
        config: The daemon's configuration.
        socket: The control socket; None: the configuration says where it is.
        doors: The ways out.
        elsewhere: The daemon is on another machine; None: on this one.
    """

    config: Path
    socket: Path | None
    doors: Doors
    elsewhere: "Elsewhere | None" = None

    def talk(self, conversation: Conversation[Result]) -> Result:
        """
        Hold a conversation with the daemon.

        Raises:
            ConfigError: The configuration cannot be read.
            NotReachable: There is no daemon.
            OperatorError: What the daemon answers.
        """
        if self.elsewhere is not None:
            return self.doors.talk(self.elsewhere.place(), self.elsewhere.as_user(conversation))
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
