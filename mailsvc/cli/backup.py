"""Save a domain in one file: its settings, accounts, aliases and all mail."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote
from zipfile import ZIP_DEFLATED, ZipFile

from mailsvc.cli.mbox import mbox_entry
from mailsvc.cli.output import clean
from mailsvc.cli.place import all_rows
from mailsvc.control.client import ControlClient
from mailsvc.errors import CommandError
from mailsvc.model.address import Address
from mailsvc.model.alias import AliasKind
from mailsvc.model.domain import Saved
from mailsvc.model.export import StoredMail

if TYPE_CHECKING:
    from mailsvc.model.account import AccountSummary
    from mailsvc.model.alias import AliasSummary


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """
    Make a file that only its owner may read; it is on the disk when the block ends.

    What was begun goes when the block fails. Never an existing file.

    Raises:
        CommandError: There is one already, or it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CommandError(f"{path} exists already; name a file that does not") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CommandError(f"{path} cannot be written: {error.strerror}") from None
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def save_domain(client: ControlClient, name: str, file: IO[bytes]) -> Saved:
    """
    Write a domain into a zip file; passwords stay where they are.

    ``domain.json`` has the rows, ``mail/ADDRESS/FOLDER.mbox`` the messages.

    Args:
        name: A-labels.
    """
    accounts = [one for one in await all_rows(client.users.list) if one.address.domain == name]
    aliases = [
        one
        for kind in AliasKind
        for one in await all_rows(lambda after, kind=kind: client.aliases.list(kind, after))  # type: ignore[misc]  # a lambda has no types
        if one.address.domain == name
    ]
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        rows = {
            "domain": _row(await client.domains.show(name)),
            "accounts": [_row(one) for one in accounts],
            "aliases": [_row(one) for one in aliases],
        }
        archive.writestr("domain.json", json.dumps(rows, ensure_ascii=False, indent=2))
        messages = 0
        for account in accounts:
            messages += await _save_mail(client, account.address, archive)
    return Saved(accounts=len(accounts), aliases=_counted(aliases), messages=messages)


def _counted(aliases: "Sequence[AliasSummary]") -> int:
    """Count those that the domain counts: a forward belongs to its account."""
    return sum(one.kind is not AliasKind.FORWARD for one in aliases)


async def _save_mail(client: ControlClient, address: Address, archive: ZipFile) -> int:
    """Write all folders of an account; tells how many messages."""
    mail = await all_rows(lambda after: client.export.list(str(address), after))
    for folder, messages in groupby(mail, lambda one: one.folder):
        name = f"mail/{_safe(str(address))}/{_safe(folder)}.mbox"
        with archive.open(name, "w", force_zip64=True) as mbox:
            for one in messages:
                content = await _read_whole(client, address, one)
                mbox.write(mbox_entry(content, one.sender, one.received))
    return len(mail)


async def save_account(client: ControlClient, address: Address, mbox: IO[bytes]) -> int:
    """Write all mail of an account into one mbox; tells how many messages."""
    mail = await all_rows(lambda after: client.export.list(str(address), after))
    for one in mail:
        content = await _read_whole(client, address, one)
        mbox.write(mbox_entry(_in_folder(one.folder) + content, one.sender, one.received))
    return len(mail)


def _in_folder(name: str) -> bytes:
    return b"" if name == "INBOX" else f"X-Mailsvc-Folder: {clean(name)}\r\n".encode()


async def _read_whole(client: ControlClient, address: Address, mail: StoredMail) -> bytes:
    content = await client.export.read(mail.message)
    if len(content) != mail.octets:
        raise CommandError(f"{address}: mail was removed meanwhile; try again")
    return content


def _safe(name: str) -> str:
    """Write a name as one that every file system takes."""
    return quote(name, safe="@+ ").replace("..", ".%2E")


def _row(value: "AccountSummary | AliasSummary | Any") -> dict[str, Any]:
    """Give the fields of a dataclass as JSON has them."""
    return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, tuple | frozenset):
        return (
            sorted(map(_plain, value)) if isinstance(value, frozenset) else list(map(_plain, value))
        )
    return value if value is None or isinstance(value, bool | int | float) else str(value)
