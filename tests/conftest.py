"""What all tests have at hand."""

import pytest
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the long ones first: many small ones at the end keep every process busy."""
    items.sort(key=lambda item: "tests/whole/" not in item.nodeid)
