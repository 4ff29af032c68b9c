"""``mailctl session``: who is connected, and who must go."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from mailsvc.cli.output import Column, count, duration, show_json, show_table
from mailsvc.cli.place import Place, all_rows, as_json, examples, pass_place

if TYPE_CHECKING:  # see place.py
    from mailsvc.model.session import SessionState

_COLUMNS = (
    Column("Number", right=True),
    Column("Listener"),
    Column("Client"),
    Column("User"),
    Column("TLS"),
    Column("Age", right=True),
)


def _which(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which sessions."""
    for option in (
        click.option("--listener", default="", help="By its name in config.yaml; smtp, pop3: all."),
        click.option(
            "--ip", "network", default="", help="An IP address, or a network: 10.0.0.0/8."
        ),
        click.option("--user", default="", help="The account that has logged in."),
    ):
        command = option(command)
    return command


@click.group()
def session() -> None:
    """Look at the open sessions of this daemon, and end them."""


@session.command(
    "list", epilog=examples("mailctl session list", "mailctl session list --ip 192.0.2.0/24")
)
@_which
@as_json
@pass_place
def list_(place: Place, user: str, network: str, listener: str, *, as_json: bool) -> None:
    """List open sessions, the oldest first."""
    from mailsvc.model.session import SessionFilter

    only = SessionFilter(user=user, network=network, listener=listener)
    found = place.talk(
        lambda client: all_rows(lambda after: client.sessions.list(after, only=only))
    )
    if as_json:
        show_json([_json(one) for one in found])
        return
    show_table(_COLUMNS, [_row(one) for one in found])


@session.command(
    epilog=examples(
        "mailctl session kill 17 18",
        "mailctl session kill --user alice",
        "mailctl session kill --ip 192.0.2.7 --listener pop3",
        "mailctl session kill --all",
    )
)
@click.argument("numbers", metavar="[NUMBER]...", type=click.IntRange(min=1), nargs=-1)
@_which
@click.option("--all", "everybody", is_flag=True, help="All of them.")
@as_json
@pass_place
def kill(
    place: Place,
    numbers: tuple[int, ...],
    user: str,
    network: str,
    listener: str,
    *,
    everybody: bool,
    as_json: bool,
) -> None:
    """
    End sessions: those with a number, or all that the options say.

    What a session has under way is answered first. Its client may come back at once: to
    keep a user out, use "user disable" or "user switch".
    """
    from mailsvc.model.session import SessionFilter

    if everybody is any((numbers, user, network, listener)):
        raise click.UsageError("say which sessions: numbers, --user, --ip, --listener, or --all")
    only = SessionFilter(numbers=numbers, user=user, network=network, listener=listener)
    ended = place.talk(lambda client: client.sessions.end(only))
    if as_json:
        show_json({"ended": ended})
    else:
        click.echo(f"Ended {count(ended, 'session', 'sessions')}.")


def _row(one: "SessionState") -> list[str]:
    number, age = str(one.number), duration(one.age.total_seconds())
    client = f"{one.client} port {one.port}" if one.client else ""
    return [number, one.listener, client, one.user, "yes" if one.secure else "no", age]


def _json(one: "SessionState") -> dict[str, object]:
    return {
        "number": one.number,
        "listener": one.listener,
        "service": one.service,
        "client": one.client or None,
        "port": one.port,
        "user": one.user or None,
        "tls": one.secure,
        "age_seconds": one.age.total_seconds(),
    }
