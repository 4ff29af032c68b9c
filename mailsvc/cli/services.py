"""``mailctl status`` and ``mailctl service``: how the daemon is, and what it serves."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mailsvc.cli.output import Column, clean, count, duration, show_json, show_table
from mailsvc.cli.place import Place, as_json, examples, pass_place

if TYPE_CHECKING:  # see place.py
    from mailsvc.admin.health import ServiceStatus

_COLUMNS = (
    Column("Listener"),
    Column("Kind"),
    Column("Address"),
    Column("Port", right=True),
    Column("TLS"),
    Column("State"),
    Column("Sessions", right=True),
)

_which = click.argument("name", metavar="smtp|pop3", type=click.Choice(["smtp", "pop3"]))


@click.command(epilog=examples("mailctl status", "mailctl status --json | jq .database.fault"))
@as_json
@pass_place
def status(place: Place, *, as_json: bool) -> None:
    """Show how the daemon, its database and its listeners are."""
    seen = place.talk(lambda client: client.services.status())
    if as_json:
        show_json(_status_json(seen))
        return
    uptime = duration(seen.uptime.total_seconds())
    click.echo(f"mailsvc {seen.version} on {seen.hostname}, process {seen.pid}, up {uptime}")
    click.echo(clean(_database_line(seen)))
    click.echo()
    rows = [
        [
            one.name,
            one.kind,
            one.address,
            str(one.port),
            one.tls,
            "running" if one.running else "stopped",
            str(one.sessions),
        ]
        for one in seen.listeners
    ]
    show_table(_COLUMNS, rows)


def _database_line(seen: "ServiceStatus") -> str:
    waiting = f"{count(seen.waiting, 'write', 'writes')} waiting"
    if seen.fault is not None:
        return f"database: {seen.fault}; {waiting}"
    domains = count(seen.domains or 0, "domain", "domains")
    accounts = count(seen.accounts or 0, "account", "accounts")
    return f"database: {seen.engine}, schema {seen.revision}, {domains}, {accounts}, {waiting}"


def _status_json(seen: "ServiceStatus") -> dict[str, Any]:
    return {
        "version": seen.version,
        "hostname": seen.hostname,
        "pid": seen.pid,
        "uptime_seconds": seen.uptime.total_seconds(),
        "database": {
            "fault": seen.fault,
            "engine": seen.engine,
            "revision": seen.revision,
            "domains": seen.domains,
            "accounts": seen.accounts,
            "waiting_writes": seen.waiting,
        },
        "listeners": [asdict(listener) for listener in seen.listeners],
    }


@click.group()
def service() -> None:
    """
    Start and stop services while the daemon runs.

    "smtp" is every listener of the kinds smtp and submission, "pop3" every listener of
    that kind. The daemon remembers a stop and keeps to it when it is started again.
    """


@service.command(epilog=examples("mailctl service start pop3"))
@_which
@as_json
@pass_place
def start(place: Place, name: str, *, as_json: bool) -> None:
    """Open the listeners of a service."""
    place.talk(lambda client: client.services.start(name))
    _show_switched(name, f"{name} is running.", running=True, in_json=as_json)


@service.command(epilog=examples("mailctl service stop smtp"))
@_which
@as_json
@pass_place
def stop(place: Place, name: str, *, as_json: bool) -> None:
    """
    Close the listeners of a service and end its sessions.

    What a client has under way is answered first. Stopping smtp does not stop pop3.
    """
    place.talk(lambda client: client.services.stop(name))
    text = f"{name} is stopped, until: mailctl service start {name}"
    _show_switched(name, text, running=False, in_json=as_json)


def _show_switched(name: str, text: str, *, running: bool, in_json: bool) -> None:
    if in_json:
        show_json({"service": name, "running": running})
    else:
        click.echo(text)
