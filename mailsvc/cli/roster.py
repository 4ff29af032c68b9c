"""Read a list of users from CSV, and keep the passwords that are made for them."""

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mailsvc.admin.rules import (
    checked_language,
    checked_name,
    checked_own_quota,
    checked_password,
    parsed_address,
)
from mailsvc.config.units import parse_octets
from mailsvc.errors import CommandError

if TYPE_CHECKING:
    from mailsvc.model.user import NewUser

COLUMNS = (
    "address",
    "password",
    "name",
    "role",
    "quota",
    "quota_messages",
    "language",
    "enabled",
)
_SAME = {"display_name": "name", "email": "address", "e-mail": "address", "mail": "address"}
"""Other titles of columns, as other programs write them."""
_NONE = "none"
_YES = frozenset({"", "yes", "true", "1"})
_NO = frozenset({"no", "false", "0"})
_PASSWORD_COLUMNS = ("address", "password")


@dataclass(frozen=True, slots=True)
class Row:
    """
    One line of the list.

    Args:
        line: Its number in the file, from 1; the first line has the titles.
        address: As it stands there.
        user: What to make; None: it cannot be made, and ``fault`` says why.
    """

    line: int
    address: str
    user: "NewUser | None"
    fault: str = ""


def read_roster(octets: bytes, name: str) -> list[Row]:
    """
    Read a list; each row is looked at, and twice the same address is a fault.

    Columns may stand in any order, parted by commas or semicolons.

    Args:
        octets: UTF-8, with or without a byte order mark.
        name: Of the file, for errors.

    Raises:
        CommandError: It is no such list.
    """
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandError(f"{name} is not UTF-8 (octet {error.start}): save it as UTF-8") from None
    try:
        return _without_doubles(list(_rows(text, name)))
    except csv.Error as error:
        raise CommandError(f"{name} is no CSV: {error}") from None


def _rows(text: str, name: str) -> Iterator[Row]:
    title = text.partition("\n")[0]
    delimiter = ";" if ";" in title and "," not in title else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    titles = [one.strip().lower() for one in next(reader, [])]
    columns = [_SAME.get(one, one) for one in titles]
    _check_columns(columns, name)
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield _row(reader.line_num, columns, [cell.strip() for cell in cells])


def _check_columns(columns: Sequence[str], name: str) -> None:
    if "address" not in columns:
        raise CommandError(f"the first line of {name} must name the columns, such as: address,name")
    for column in columns:
        if column not in COLUMNS:
            raise CommandError(f"{name}: unknown column {column!r}; there are {', '.join(COLUMNS)}")
        if columns.count(column) > 1:
            raise CommandError(f"{name}: column {column!r} is there twice")


def _row(line: int, columns: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) > len(columns):
        return Row(line, cells[0], None, "more cells than the first line has titles")
    values = dict(zip(columns, cells, strict=False))
    address = values.get("address", "")
    try:
        return Row(line, address, _user(values))
    except CommandError as error:
        return Row(line, address, None, str(error))


def _user(values: Mapping[str, str]) -> "NewUser":
    from mailsvc.model.account import Role
    from mailsvc.model.user import NewUser

    address, password = values["address"], values.get("password", "").encode()
    parsed_address(address if "@" in address else f"{address}@example.org")
    role = values.get("role", "") or Role.USER
    if role not in set(Role):
        raise CommandError(f"{role!r} is no role: user or admin")
    return NewUser(
        address=address,
        password=checked_password(password) if password else None,
        display_name=checked_name(values.get("name", "")),
        role=Role(role),
        quota_octets=checked_own_quota(_limit(values.get("quota", "")), "octets"),
        quota_messages=checked_own_quota(_count(values.get("quota_messages", "")), "messages"),
        language=checked_language(values.get("language", "")),
        enabled=_truth(values.get("enabled", "")),
    )


def _limit(text: str) -> int | None:
    if not text:
        return None
    if text == _NONE:
        return 0
    try:
        return parse_octets(text)
    except ValueError as error:
        raise CommandError(f"{text!r}: {error}") from None


def _count(text: str) -> int | None:
    if not text:
        return None
    if text == _NONE:
        return 0
    if not text.isascii() or not text.isdigit():
        raise CommandError(f"{text!r} is no number of messages")
    return int(text[:20])


def _truth(text: str) -> bool:
    if text.lower() not in _YES | _NO:
        raise CommandError(f"{text!r} is neither yes nor no")
    return text.lower() in _YES


def _without_doubles(rows: Sequence[Row]) -> list[Row]:
    seen: dict[str, int] = {}
    found: list[Row] = []
    for row in rows:
        first = seen.setdefault(row.address.casefold(), row.line)
        if first != row.line and row.user is not None:
            found.append(replace(row, user=None, fault=f"line {first} has this address, too"))
        else:
            found.append(row)
    return found


class PasswordFile:
    """
    Passwords that were made, by address; on the disk before anybody has them.

    Args:
        path: A CSV file that only its owner may read; made when it is missing.

    Raises:
        CommandError: It cannot be read, or others can read it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._read()

    def _read(self) -> dict[str, str]:
        try:
            with self._path.open(encoding="utf-8", newline="") as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    raise CommandError(
                        f"{self._path} can be read by others; say first: chmod 600 {self._path}"
                    )
                return {row[0]: row[1] for row in csv.reader(file) if len(row) > 1}
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise CommandError(f"{self._path} cannot be read: {error}") from None

    def get(self, address: str) -> str | None:
        """Give the password that was made for an address before."""
        return self._known.get(address)

    def add(self, made: Mapping[str, str]) -> None:
        """
        Write passwords; they are on the disk when it returns.

        Raises:
            CommandError: They are not; use none of them.
        """
        lines = io.StringIO(newline="")
        writer = csv.writer(lines, lineterminator="\n")
        if not self._known:
            writer.writerow(_PASSWORD_COLUMNS)
        writer.writerows(made.items())
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                file.write(lines.getvalue().encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CommandError(f"{self._path} cannot be written: {error.strerror}") from None
        self._known.update(made)
