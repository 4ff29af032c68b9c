"""What all tests have at hand."""

from hypothesis import settings

from tests.support.database_servers import (
    database_url,
    empty_url,
    engines,
    kind,
    mariadb,
    postgresql,
    sqlite_template,
)

__all__ = [
    "database_url",
    "empty_url",
    "engines",
    "kind",
    "mariadb",
    "postgresql",
    "sqlite_template",
]

# A machine that does something else meanwhile must not fail a test.
settings.register_profile("mailsvc", deadline=None)
settings.load_profile("mailsvc")
