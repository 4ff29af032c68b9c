"""The program ``mailctl``; errors become one line and an exit status, never a traceback."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from mailsvc.cli.aliases import alias, forward, group
from mailsvc.cli.broadcasts import broadcast
from mailsvc.cli.dkim import dkim, dns
from mailsvc.cli.domains import domain
from mailsvc.cli.filters import filter_
from mailsvc.cli.help import (
    AddressText,
    SettingText,
    completion,
    every_command,
    help_,
    manual,
)
from mailsvc.cli.logs import log
from mailsvc.cli.offline import check_config, database
from mailsvc.cli.output import clean
from mailsvc.cli.place import Doors, Elsewhere, Place, examples
from mailsvc.cli.queue import queue
from mailsvc.cli.registration import invitation, passwd, register
from mailsvc.cli.services import service, status
from mailsvc.cli.sessions import session
from mailsvc.cli.settings import settings
from mailsvc.cli.trail import trace, trail
from mailsvc.cli.users import user
from mailsvc.errors import NotReachable, OperatorError

FAILED, NOT_REACHABLE = 1, 3
"""Exit statuses; 2, for wrong usage, is Click's."""


class _Failed(click.ClickException):
    """Ends the program with a line of text for each mistake."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.exit_code = status  # type: ignore[misc]  # Click's own classes do so, too

    def show(self, file: Any = None) -> None:
        """Write to standard error, in the manner of every other tool."""
        for line in self.message.splitlines():
            click.echo(f"mailctl: {clean(line)}", file=file, err=file is None)


class _Program(click.Group):
    """All commands, and what becomes of their errors."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except NotReachable as error:
            raise _Failed(str(error), NOT_REACHABLE) from None
        except OperatorError as error:
            raise _Failed(str(error), FAILED) from None
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001 - nobody shall see a traceback
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            raise _Failed(f"this is a fault of mailctl, please report it: {text}", FAILED) from None


@click.group(
    cls=_Program,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "mailctl status",
        "mailctl user add alice --generate",
        "mailctl -c /etc/mailsvc/config.yaml user list",
        "mailctl service stop pop3",
        "mailctl check-config",
    ),
)
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    default=Path("config.yaml"),
    show_default=True,
    envvar="MAILSVC_CONFIG",
    show_envvar=True,
    help="The daemon's configuration; it says where the control socket is.",
)
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    help="The control socket itself; the configuration is not read then.",
)
@click.option(
    "--host",
    envvar="MAILCTL_HOST",
    metavar="HOST[:PORT]",
    help="A daemon on another machine, by TLS; see control.remote in its config.yaml.",
)
@click.option(
    "--login", envvar="MAILCTL_LOGIN", default="", metavar="USER", help="Log in there as USER."
)
@click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    help="Has the password of USER; else MAILCTL_PASSWORD has it, or you are asked.",
)
@click.option(
    "--ca", type=click.Path(path_type=Path), help="PEM file of authorities to trust with --host."
)
@click.option(
    "--fingerprint",
    envvar="MAILCTL_FINGERPRINT",
    default="",
    metavar="SHA256",
    help='Trust this certificate: "mailctl status" shows it on the server.',
)
@click.version_option(version("mailsvc"), prog_name="mailctl")
@click.pass_context
def program(ctx: click.Context, /, config: Path, socket: Path | None, **remote: Any) -> None:
    """
    Look after a mailsvc.

    "check-config" and "database" work without the daemon. All other commands talk to the
    running daemon through its control socket: run them as the daemon's user or as root, or
    with --host from another machine.

    Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 the daemon is not reachable.
    """
    doors = ctx.obj if isinstance(ctx.obj, Doors) else Doors()
    if remote["login"] and not remote["host"]:
        raise click.UsageError("--login needs --host: on this machine the socket knows you")
    ctx.obj = Place(config, socket, doors, Elsewhere(**remote) if remote["host"] else None)


for _command in (
    status,
    domain,
    user,
    alias,
    group,
    forward,
    broadcast,
    service,
    session,
    filter_,
    settings,
    invitation,
    register,
    passwd,
    log,
    queue,
    dkim,
    dns,
    trail,
    trace,
    check_config,
    database,
    help_,
    manual,
    completion,
):
    program.add_command(_command)

_NEW = {"add", "register", "rename"}
"""Commands whose addresses are not there yet."""

for _path, _command in every_command((), program):
    for _one in _command.params:
        if isinstance(_one, click.Argument) and _path[-1:] and _path[-1] not in _NEW:
            if _one.name in {"address", "addresses"}:
                _one.type = AddressText()
            elif _path[0] == "settings" and _one.name in {"name", "section"}:
                _one.type = SettingText()


def main() -> None:
    """Run ``mailctl``."""
    program(prog_name="mailctl")
