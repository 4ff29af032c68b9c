"""What an administrator changes while the service runs; DESIGN: section 5, ``setting``."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from mailsvc.store.tables import setting


def read_settings(conn: Connection) -> dict[str, Any]:
    """Give every setting that was ever changed, by name."""
    return {row.name: row.value for row in conn.execute(select(setting.c.name, setting.c.value))}


def latest_revision(conn: Connection) -> int:
    """Tell the revision of the newest change; 0: there was none."""
    return conn.scalar(select(func.max(setting.c.revision))) or 0


def write_setting(conn: Connection, name: str, value: Any, changed_by: str) -> None:
    """
    Change one setting.

    Args:
        value: Anything that JSON can say.
        changed_by: Who; for the record.
    """
    # Locked: two changes at once must not share a revision, or a node would miss one.
    conn.scalars(select(setting.c.name).with_for_update()).all()
    row = {
        "value": value,
        "revision": latest_revision(conn) + 1,
        "changed": datetime.now(UTC),
        "changed_by": changed_by,
    }
    changed = conn.execute(update(setting).where(setting.c.name == name).values(**row))
    if not changed.rowcount:
        conn.execute(insert(setting).values(name=name, **row))


CONFIG = "config."
"""Begins the names of rows that change what config.yaml says; its paths follow."""


class Changed(NamedTuple):
    """Who has changed a setting, and when, UTC."""

    by: str
    at: datetime


def who_changed(conn: Connection, prefix: str) -> dict[str, Changed]:
    """Tell who has changed the settings whose names begin so."""
    asked = select(setting.c.name, setting.c.changed_by, setting.c.changed).where(
        setting.c.name.startswith(prefix, autoescape=True)
    )
    return {row.name: Changed(row.changed_by, row.changed) for row in conn.execute(asked)}


def forget_setting(conn: Connection, name: str) -> int:
    """Remove a setting, and all whose names go on behind a dot; tells how many there were."""
    below = setting.c.name.startswith(f"{name}.", autoescape=True)
    return conn.execute(delete(setting).where(or_(setting.c.name == name, below))).rowcount


def replace_setting(
    conn: Connection, name: str, value: Any, changed_by: str, also: Sequence[str] = ()
) -> None:
    """Change a setting as ``write_setting`` does; what stood below it, and *also*, goes."""
    for gone in (name, *also):
        forget_setting(conn, gone)
    write_setting(conn, name, value, changed_by)


_SECRET = "login.secret"  # noqa: S105 - the name of it


def shared_secret(conn: Connection) -> bytes:
    """Give the secret that all nodes of this database share; the first one makes it."""
    known = select(setting.c.value).where(setting.c.name == _SECRET)
    found = conn.scalar(known)
    if found is None:
        try:
            with conn.begin_nested():
                write_setting(conn, _SECRET, secrets.token_hex(32), "first start")
        except IntegrityError:
            pass  # another node has made it just now
        found = conn.scalar(known.with_for_update())
    return bytes.fromhex(str(found))
