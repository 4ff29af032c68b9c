"""What an administrator changes while the service runs; DESIGN: section 5, ``setting``."""

import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update
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
