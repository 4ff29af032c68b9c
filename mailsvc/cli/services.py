"""``mailctl status`` and ``mailctl service``: how the daemon is, and what it serves."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from mailsvc.cli.output import Column, clean, count, duration, end, moment, show_json, show_table
from mailsvc.cli.parameters import for_option
from mailsvc.cli.place import Place, as_json, examples, pass_place

if TYPE_CHECKING:  # see place.py
    from collections.abc import Iterable, Iterator

    from mailsvc.model.listener import ListenerState
    from mailsvc.model.service import ServiceStatus

_COLUMNS = (
    Column("Listener"),
    Column("Kind"),
    Column("Address"),
    Column("Port", right=True),
    Column("TLS"),
    Column("State"),
    Column("Sessions", right=True),
)

_which = click.argument("name", metavar="smtp|pop3|LISTENER")


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
    pids = f"{seen.pid}" if seen.writer is None else f"{seen.pid} (writer {seen.writer})"
    click.echo(f"mailsvc {seen.version} on {seen.hostname}, process {pids}, up {uptime}")
    click.echo(clean(_database_line(seen)))
    for line in _queue_lines(seen):
        click.echo(clean(line))
    if seen.remote:
        click.echo(clean(f"mailctl of other machines: {seen.remote}, certificate SHA-256"))
        click.echo(clean(f"  {seen.fingerprint}"))
    if seen.pending:
        wait = "1 account waits" if seen.pending == 1 else f"{seen.pending} accounts wait"
        click.echo(f"{wait} for approval: mailctl user pending")
    click.echo()
    _show_listeners(seen.listeners)


def _queue_lines(seen: "ServiceStatus") -> "Iterator[str]":
    """Tell of mail that waits for other servers, where there is any."""
    if not seen.queued:
        return
    waits = "1 recipient waits" if seen.queued == 1 else f"{seen.queued} recipients wait"
    held = f", {seen.held} held" if seen.held else ""
    age = (datetime.now(UTC) - seen.oldest).total_seconds() if seen.oldest is not None else 0.0
    yield f"mail for other servers: {waits}{held}, the oldest for {duration(max(age, 0.0))}"
    for line in seen.away:
        yield f"  {line}"


def _show_listeners(listeners: "Iterable[ListenerState]") -> None:
    rows = [
        [
            one.name,
            one.kind,
            one.address,
            str(one.port),
            one.tls,
            _state(one),
            str(one.sessions),
        ]
        for one in listeners
    ]
    show_table(_COLUMNS, rows)


def _state(one: "ListenerState") -> str:
    state = "running" if one.running else "stopped"
    return state if one.until is None else f"{state} until {_soon(one.until)}"


def _soon(when: datetime) -> str:
    """Write a moment, shortly where it is not far off."""
    day = timedelta(days=1)
    return f"{when:%H:%M} UTC" if when - datetime.now(UTC) < day else moment(when)


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
            "writer_pid": seen.writer,
            "pending_accounts": seen.pending,
        },
        "queue": {
            "waiting": seen.queued,
            "held": seen.held,
            "oldest": None if seen.oldest is None else seen.oldest.isoformat(),
            "away": list(seen.away),
        },
        "remote": {"place": seen.remote, "fingerprint": seen.fingerprint} if seen.remote else None,
        "listeners": [_listener_json(one) for one in seen.listeners],
    }


@click.group()
def service() -> None:
    """
    Start and stop services while the daemon runs.

    "smtp" is every listener of the kinds smtp, submission and lmtp, "pop3" every listener
    of that kind; or name one listener. The daemon remembers it and keeps to it when it is
    started again. A listener that is called like a service is listeners.pop3.
    """


@service.command("list", epilog=examples("mailctl service list"))
@as_json
@pass_place
def list_(place: Place, *, as_json: bool) -> None:
    """List the listeners and what each does."""
    seen = place.talk(lambda client: client.services.status())
    if as_json:
        show_json([_listener_json(one) for one in seen.listeners])
    else:
        _show_listeners(seen.listeners)


@service.command(epilog=examples("mailctl service start pop3", "mailctl service start mx --for 2h"))
@_which
@for_option("it stops")
@as_json
@pass_place
def start(place: Place, *, name: str, span: timedelta | None, as_json: bool) -> None:
    """Open the listeners of a service, or one of them."""
    done = place.talk(lambda client: client.services.start(name, span))
    _show_switched(name, done, running=True, in_json=as_json)


@service.command(
    epilog=examples(
        "mailctl service stop smtp",
        "mailctl service stop pop3 --for 2h",
        "mailctl service stop listeners.pop3",
    )
)
@_which
@for_option("it starts")
@as_json
@pass_place
def stop(place: Place, *, name: str, span: timedelta | None, as_json: bool) -> None:
    """
    Close the listeners of a service, or one of them, and end their sessions.

    What a client has under way is answered first. Stopping smtp does not stop pop3.
    """
    done = place.talk(lambda client: client.services.stop(name, span))
    _show_switched(name, done, running=False, in_json=as_json)


def _show_switched(
    name: str, listeners: "tuple[ListenerState, ...]", *, running: bool, in_json: bool
) -> None:
    if in_json:
        shown = [_listener_json(one) for one in listeners]
        show_json({"service": name, "running": running, "listeners": shown})
        return
    until = next((one.until for one in listeners), None)
    state, other = ("running", "stop") if running else ("stopped", "start")
    if until is None:
        rest = "." if running else f", until: mailctl service {other} {name}"
    else:
        turns = "stops" if running else "starts"
        rest = f" until {end(until)}, then it {turns} by itself."
    click.echo(clean(f"{name} is {state}{rest}"))


def _listener_json(one: "ListenerState") -> dict[str, Any]:
    return {**asdict(one), "until": None if one.until is None else one.until.isoformat()}
