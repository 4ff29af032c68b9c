"""The steps of the schema, as alembic knows them; only for who must take one."""

from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from alembic import command


def migrations() -> Path:
    """Find the migrations: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "alembic"
    return installed if installed.is_dir() else package.parent / "alembic"


def alembic_config(connection: Connection) -> Config:
    """Make alembic work on an open connection."""
    config = Config()
    config.set_main_option("script_location", str(migrations()))
    config.attributes["connection"] = connection
    return config


def known_revisions(connection: Connection) -> frozenset[str]:
    """Name all revisions that this version knows."""
    scripts = ScriptDirectory.from_config(alembic_config(connection))
    return frozenset(script.revision for script in scripts.walk_revisions())


def take_all_steps(connection: Connection) -> None:
    """Bring a database to the newest revision."""
    command.upgrade(alembic_config(connection), "head")
