"""
Run by alembic: bind the migrations to the database.

The service hands over its own connection; ``alembic`` on the command line opens the one of
``-x config=config.yaml``, or of ``config.yaml`` in the current folder.
"""

from pathlib import Path
from typing import Literal

from sqlalchemy import Connection

from alembic import context
from mailsvc.config.load import load
from mailsvc.store.engine import open_engines
from mailsvc.store.tables import UtcTime, metadata


def _render(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Keep migrations free of imports from the service: they must outlive its code."""
    return "sa.BigInteger()" if kind == "type" and isinstance(item, UtcTime) else False


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        render_item=_render,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _run() -> None:
    given: Connection | None = context.config.attributes.get("connection")
    if given is not None:
        _migrate(given)
        return
    path = context.get_x_argument(as_dictionary=True).get("config", "config.yaml")
    engines = open_engines(load(Path(path)).database_url, readers=1, writers=1)
    try:
        with engines.write.begin() as connection:
            _migrate(connection)
    finally:
        engines.close()


_run()
