"""``mailctl user import``: many accounts from one file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mailsvc.cli.output import Column, clean, count, show_json, show_table
from mailsvc.cli.place import Place, all_rows, as_json, examples, pass_place
from mailsvc.errors import AlreadyThere, CommandError, OperatorError

if TYPE_CHECKING:  # see place.py
    from rich.progress import Progress

    from mailsvc.cli.roster import PasswordFile, Row
    from mailsvc.control.client import ControlClient
    from mailsvc.model.user import NewUser

_COLUMNS = (Column("Line", right=True), Column("Address"), Column("Result"))
_AT_ONCE = 8
"""Accounts that the daemon makes at the same time: its threads shall never wait for us."""
CREATED, THERE, READY = "created", "already there", "would be created"
NOT_MADE = "not made, for another row is wrong"
REFUSED = "refused: "


@dataclass(frozen=True)
class _Ways:
    """What was asked for."""

    dry_run: bool
    generate: bool
    passwords: "PasswordFile | None"


@click.command(
    "import",
    epilog=examples(
        "mailctl user import school.csv --dry-run",
        "mailctl user import school.csv --generate --passwords-out passwords.csv",
    ),
)
@click.argument("file")
@click.option("--dry-run", is_flag=True, help="Look at every row, and change nothing.")
@click.option("--generate", is_flag=True, help="Make a password for each row that has none.")
@click.option(
    "--passwords-out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where passwords that are made are written; only its owner may read it.",
)
@as_json
@pass_place
@click.pass_context
def import_(
    ctx: click.Context,
    place: Place,
    /,
    file: str,
    passwords_out: Path | None,
    *,
    dry_run: bool,
    generate: bool,
    as_json: bool,
) -> None:
    """
    Make accounts from a CSV FILE in UTF-8; "-" is standard input.

    Its first line names the columns: address, and any of password, name, role, quota,
    quota_messages, language and enabled. Nothing is made when a row is wrong.

    When it is cut off, run the same command again: accounts that are there already stay as
    they are, and passwords that were made before are used again.
    """
    from mailsvc.cli.letters import read_file
    from mailsvc.cli.roster import PasswordFile, read_roster

    if generate and not dry_run and passwords_out is None:
        raise click.UsageError("say with --passwords-out where the passwords shall be written")
    rows = read_roster(read_file(file), file)
    passwords = None if passwords_out is None else PasswordFile(passwords_out)
    results = _try(place, rows, _Ways(dry_run, generate, passwords))
    _report(rows, results, in_json=as_json)
    if any(one.startswith(REFUSED) for one in results.values()):
        ctx.exit(1)


def _try(place: Place, rows: "Sequence[Row]", ways: _Ways) -> dict[int, str]:
    """Give the result of each row by its line; all are looked at before anything is made."""
    results = {row.line: REFUSED + row.fault for row in rows if row.user is None}
    for row in rows:
        lacks = row.user is not None and row.user.password is None
        if lacks and not ways.generate:
            results[row.line] = f"{REFUSED}there is no password; say --generate to have one made"
    if results and not ways.dry_run:
        return {row.line: results.get(row.line, NOT_MADE) for row in rows}
    try:
        place.talk(lambda client: _make_all(client, rows, ways, results))
    except OperatorError as error:
        if not (made := sum(one == CREATED for one in results.values())):
            raise
        many = count(made, "account was", "accounts were")
        raise type(error)(
            f"{error}\n{many} made; run the same command again for the rest"
        ) from None
    return results


async def _make_all(
    client: "ControlClient", rows: "Sequence[Row]", ways: _Ways, results: dict[int, str]
) -> None:
    from mailsvc.cli.together import together

    there = {str(one.address) for one in await all_rows(client.users.list)}
    home = await _home(client)
    wanted: list[Row] = []
    for row in rows:
        if row.line in results:
            continue
        whole = row.address if "@" in row.address else f"{row.address}@{home}"
        results[row.line] = THERE if whole.casefold() in there else READY
        if results[row.line] is READY:
            wanted.append(row)
    if ways.dry_run:
        return
    users = {row.line: row.user for row in _with_passwords(wanted, ways.passwords)}
    for row in wanted:
        results[row.line] = f"{REFUSED}not tried"
    with _bar() as progress:
        task = progress.add_task("", total=len(users))

        async def make(line: int) -> None:
            user = users[line]
            assert user is not None  # noqa: S101 - it would be in results
            results[line] = await _make(client, user)
            progress.advance(task)

        await together(make, list(users), _AT_ONCE)


async def _home(client: "ControlClient") -> str:
    """Give the domain of addresses that name none."""
    domains = await client.domains.list(most=1)
    return domains.rows[0].name if domains.rows else ""


def _with_passwords(rows: "Sequence[Row]", passwords: "PasswordFile | None") -> "Sequence[Row]":
    """Make the passwords that are missing; they are on the disk before the daemon has them."""
    from mailsvc.auth.passwords import make_password

    lacking = [row for row in rows if row.user is not None and row.user.password is None]
    if passwords is None or not lacking:
        return rows
    made = {row.address: make_password() for row in lacking if passwords.get(row.address) is None}
    if made:
        passwords.add(made)
    return [replace(row, user=_with_password(row.user, passwords.get(row.address))) for row in rows]


def _with_password(user: "NewUser | None", made: str | None) -> "NewUser | None":
    if user is None or user.password is not None or made is None:
        return user
    return replace(user, password=made.encode())


async def _make(client: "ControlClient", user: "NewUser") -> str:
    try:
        await client.users.add(user)
    except AlreadyThere:
        return THERE
    except CommandError as error:
        return f"{REFUSED}{error}"
    return CREATED


def _bar() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _report(rows: "Sequence[Row]", results: dict[int, str], *, in_json: bool) -> None:
    if in_json:
        show_json(
            [
                {"line": row.line, "address": row.address, "result": results[row.line]}
                for row in rows
            ]
        )
        return
    shown = [[str(row.line), row.address, results[row.line]] for row in rows]
    show_table(_COLUMNS, shown)
    refused = sum(one.startswith(REFUSED) for one in results.values())
    told = [
        f"{sum(one == what for one in results.values())} {what.partition(',')[0]}"
        for what in (CREATED, THERE, READY, NOT_MADE)
    ]
    parts = [one for one in told if not one.startswith("0 ")]
    parts += [f"{refused} refused"] if refused else []
    click.echo(clean(f"{count(len(rows), 'row', 'rows')}: {', '.join(parts) or 'nothing to do'}."))
