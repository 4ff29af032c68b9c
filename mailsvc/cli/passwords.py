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
    return _ask("Password", confirm=True)


def read_own_passwords(place: Place, *, password_stdin: bool) -> tuple[bytes, bytes]:
    """
    Get the old and the new password of a user.

    Raises:
        click.UsageError: Nobody can be asked, or the input lacks one of them.
    """
    if not password_stdin:
        if not place.doors.interactive():
            raise click.UsageError(
                "there is no terminal to ask for the passwords on: use --password-stdin"
            )
        return _ask("Old password"), _ask("New password", confirm=True)
    read = sys.stdin.buffer.read(2 * _MOST_OCTETS).replace(b"\r\n", b"\n")
    given = read.removesuffix(b"\n").split(b"\n")
    if len(given) != 2:  # noqa: PLR2004 - old and new
        raise click.UsageError("standard input has two lines: the old and the new password")
    return given[0], given[1]


def _ask(text: str, *, confirm: bool = False) -> bytes:
    typed: str = click.prompt(text, hide_input=True, confirmation_prompt=confirm, err=True)
    return typed.encode("utf-8", "surrogateescape")
