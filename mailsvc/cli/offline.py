"""``mailctl check-config`` and ``mailctl database``: they work without the daemon."""

from typing import TYPE_CHECKING, Any

import click

from mailsvc.cli.output import Column, clean, show_json, show_table
from mailsvc.cli.place import Place, as_json, examples, pass_place
from mailsvc.errors import ConfigError, StartError

if TYPE_CHECKING:  # see place.py
    from mailsvc.config.settings import Settings

_COLUMNS = (
    Column("Listener"),
    Column("Kind"),
    Column("Address"),
    Column("Port", right=True),
    Column("TLS"),
)


@click.command(
    "check-config",
    epilog=examples(
        "mailctl check-config", "mailctl -c /etc/mailsvc/config.yaml check-config --json"
    ),
)
@as_json
@pass_place
def check_config(place: Place, *, as_json: bool) -> None:
    """
    Look for mistakes in config.yaml.

    Says what was found, or every mistake on a line of its own. Neither the database nor a
    port is touched. The exit status is 1 when there is a mistake.
    """
    from mailsvc.config.load import load

    try:
        settings = load(place.config)
        found = _found(settings)
    except ConfigError as error:
        if not as_json:
            raise
        show_json({"ok": False, "mistakes": str(error).splitlines()})
        raise click.exceptions.Exit(1) from None
    if as_json:
        show_json({"ok": True, "mistakes": [], "found": found})
    else:
        click.echo(clean(f"{place.config}: no mistake found"))
        _show_found(found)


def _found(settings: "Settings") -> dict[str, Any]:
    return {
        "state": str(settings.state),
        "hostname": settings.hostname,
        "database": _database(settings),
        "control_socket": str(settings.control_socket),
        "log_folder": str(settings.log_folder),
        "filters": sorted(settings.filters),
        "listeners": [
            {
                "name": name,
                "kind": one.kind.value,
                "address": one.address,
                "port": one.port,
                "tls": one.tls.value,
            }
            for name, one in settings.listeners.items()
        ],
    }


def _database(settings: "Settings") -> str:
    """Name the database without its password."""
    from mailsvc.store.engine import parse_url

    return parse_url(settings.database_url).render_as_string(hide_password=True)


def _show_found(found: dict[str, Any]) -> None:
    lines = {
        "state folder": found["state"],
        "host name": found["hostname"] or "the name of this machine",
        "database": found["database"],
        "control socket": found["control_socket"],
        "log folder": found["log_folder"],
        "filters": ", ".join(found["filters"]) or "none",
    }
    for name, value in lines.items():
        click.echo(clean(f"{name + ':':15} {value}"))
    click.echo()
    rows = [
        [one["name"], one["kind"], one["address"], str(one["port"]), one["tls"]]
        for one in found["listeners"]
    ]
    show_table(_COLUMNS, rows)


@click.group()
def database() -> None:
    """
    Upgrade the database.

    The daemon upgrades an SQLite database by itself when it starts; a database on a server
    is upgraded by hand, after a backup, for other nodes may use it.
    """


@database.command(epilog=examples("mailctl -c /etc/mailsvc/config.yaml database upgrade"))
@as_json
@pass_place
def upgrade(place: Place, *, as_json: bool) -> None:
    """
    Bring the database of config.yaml to the schema of this version.

    Make a backup first. Harmless when there is nothing to do.
    """
    from mailsvc.config.load import load

    revision = _upgrade(load(place.config).database_url)
    if as_json:
        show_json({"revision": revision})
    else:
        click.echo(f"The database is at revision {revision}.")


def _upgrade(url: str) -> str:
    from mailsvc.store.engine import open_engines, sqlite_file
    from mailsvc.store.exclusive import Exclusive, lock_beside
    from mailsvc.store.schema import upgrade

    file = sqlite_file(url)
    if file is not None and not file.exists():
        raise StartError(f"{file}: there is no database yet; the daemon makes it when it starts")
    lock = None if file is None else Exclusive(lock_beside(file))
    engines = open_engines(url, 1, 1)
    try:
        if lock is not None:
            lock.take()
        return upgrade(engines)
    finally:
        engines.close()
        if lock is not None:
            lock.release()
