"""At which revision a database is; without alembic, which takes an eighth of a start to load."""

from sqlalchemy import Connection, column, inspect, select, table

NEWEST = "0006"
"""The revision that this version needs: the last one in ``alembic/versions``."""

_VERSION = table("alembic_version", column("version_num"))


def revision_of(connection: Connection) -> str | None:
    """Tell the revision of a database; None: it has no schema yet."""
    if not inspect(connection).has_table(_VERSION.name):
        return None
    revision: str | None = connection.scalar(select(_VERSION.c.version_num))
    return revision
