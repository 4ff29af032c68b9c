"""Get a password from the user: typed, piped or made by the daemon; never as an argument."""

import sys
from collections.abc import Callable
from typing import Any

import click

from mailsvc.cli.place import Place

_Command = Callable[..., Any]
_MOST_OCTETS = 4096
"""Read of standard input; the daemon refuses less than that."""


def password_options(command: _Command) -> _Command:
    """Give a command the two ways besides the prompt."""
    stdin = click.option(
        "--password-stdin", is_flag=True, help="Read the password from standard input."
    )
    generate = click.option(
        "--generate", is_flag=True, help="Let the daemon make a password, and show it once."
    )
    return stdin(generate(command))


def read_password(place: Place, *, password_stdin: bool, generate: bool) -> bytes | None:
    """
    Get the password.

    Returns:
        None: the daemon shall make one.

    Raises:
        click.UsageError: Nobody can be asked, and no other way was named.
    """
    if password_stdin and generate:
        raise click.UsageError("--password-stdin and --generate do not go together")
    if generate:
        return None
    if password_stdin:
        given = sys.stdin.buffer.read(_MOST_OCTETS)
        return given.removesuffix(b"\n").removesuffix(b"\r")
    if not place.doors.interactive():
        raise click.UsageError(
            "there is no terminal to ask for the password on: "
            "use --password-stdin, or let one be made with --generate"
        )
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return typed.encode("utf-8", "surrogateescape")
