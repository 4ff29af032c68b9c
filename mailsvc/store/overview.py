"""What an administrator wants to know of the database at a glance."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from mailsvc.store.accounts import count_accounts
from mailsvc.store.invitations import count_pending
from mailsvc.store.queue import QueueState, queue_state
from mailsvc.store.revisions import revision_of
from mailsvc.store.tables import domain

_NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB"}


@dataclass(frozen=True, slots=True)
class Overview:
    """
    The database at one moment.

    Args:
        engine: Its name and version.
        revision: Of its schema; None: it has none yet.
    """

    engine: str | None
    revision: str | None
    domains: int | None
    accounts: int | None
    pending: int | None = None
    queue: QueueState | None = None


NOTHING_SEEN = Overview(None, None, None, None)
"""The database did not answer."""


def overview(conn: Connection) -> Overview:
    """Look at the database."""
    return Overview(
        engine=_engine(conn),
        revision=revision_of(conn),
        domains=conn.scalar(select(func.count()).select_from(domain)) or 0,
        accounts=count_accounts(conn),
        pending=count_pending(conn),
        queue=queue_state(conn),
    )


def _engine(conn: Connection) -> str:
    dialect = conn.dialect
    name = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    version = ".".join(str(part) for part in dialect.server_version_info or ())
    return f"{_NAMES.get(name, name)} {version}".strip()
