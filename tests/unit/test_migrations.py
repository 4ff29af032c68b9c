"""The schema and its migrations agree, and nobody's database is changed behind his back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, inspect, text

from alembic import command
from mailsvc.errors import StartError
from mailsvc.model.address import parse_address
from mailsvc.store.accounts import find_account
from mailsvc.store.engine import Engines, open_engines
from mailsvc.store.migrations import alembic_config
from mailsvc.store.overview import overview
from mailsvc.store.revisions import NEWEST, revision_of
from mailsvc.store.schema import prepare, transact, upgrade
from mailsvc.store.tables import metadata
from tests.support.database_servers import SERVERS


@pytest.fixture
def empty(empty_url: str) -> Iterator[Engines]:
    """Open a database that holds nothing at all."""
    opened = open_engines(empty_url, 1, 1)
    yield opened
    opened.close()


def tables(conn: Connection) -> set[str]:
    """List the tables there are."""
    return set(inspect(conn).get_table_names()) - {"alembic_version"}


def differences(conn: Connection) -> object:
    """Do what ``alembic check`` does."""
    context = MigrationContext.configure(conn, opts={"compare_type": True})
    return compare_metadata(context, metadata)


def downgrade(conn: Connection) -> None:
    """Take all migrations back."""
    command.downgrade(alembic_config(conn), "base")


def claim_revision(conn: Connection, revision: str) -> None:
    """Say that the database is at some revision."""
    conn.execute(text("UPDATE alembic_version SET version_num = :new"), {"new": revision})


def head(conn: Connection) -> str:
    """Name the newest revision."""
    return str(ScriptDirectory.from_config(alembic_config(conn)).get_current_head())


class TestSteps:
    """The migrations are the schema."""

    def test_an_empty_database_gets_every_table(self, empty: Engines) -> None:
        """What the migrations make is what the code expects, to the type of each column."""
        revision = upgrade(empty)

        assert transact(empty, tables) == set(metadata.tables)
        assert transact(empty, differences) == []
        assert revision == NEWEST == transact(empty, head) == transact(empty, revision_of)

    def test_down_and_up_again(self, empty: Engines) -> None:
        """A migration can be taken back, and nothing of it stays."""
        upgrade(empty)

        transact(empty, downgrade)
        assert transact(empty, tables) == set()

        upgrade(empty)
        assert transact(empty, differences) == []

    def test_an_upgrade_of_the_newest_changes_nothing(self, empty: Engines) -> None:
        """Who is not sure runs it once more."""
        assert upgrade(empty) == upgrade(empty)

    def test_an_administrator_sees_engine_and_revision(self, empty: Engines, kind: str) -> None:
        """The status names the database as its makers do."""
        revision = upgrade(empty)

        seen = transact(empty, overview)

        assert (seen.engine or "").lower().startswith(f"{kind} ")
        assert (seen.revision, seen.domains, seen.accounts) == (revision, 0, 0)


def fill_first_revision(conn: Connection) -> None:
    """Bring an empty database to the first revision, with a user and his folder in it."""
    command.upgrade(alembic_config(conn), "0001")
    conn.execute(text("INSERT INTO domain VALUES (1, 'test.com', :yes, NULL, 0)"), {"yes": True})
    conn.execute(
        text(
            "INSERT INTO account (id, domain_id, address, address_key, display_name, role,"
            " enabled, smtp_on, pop3_on, web_on, language, created) VALUES"
            " (2, 1, 'a@test.com', 'a@test.com', '', 'user', :yes, :yes, :yes, :yes, '', 0)"
        ),
        {"yes": True},
    )
    conn.execute(text("INSERT INTO folder VALUES (3, 2, 'INBOX', 'inbox', 1, 1, 1, 0, 0)"))


class TestUpgrade:
    """An older database is brought to this version as it is."""

    def test_an_upgrade_keeps_accounts_and_folders(self, empty: Engines) -> None:
        """And whatever an account can have since then, it does not have at first."""
        transact(empty, fill_first_revision)

        upgrade(empty)

        found = transact(empty, find_account, parse_address("a@test.com"))
        assert found is not None
        assert (found.id, found.inbox, found.keep_days) == (2, 3, None)
        assert transact(empty, differences) == []


class TestPrepare:
    """What the daemon does with the database it finds."""

    @pytest.mark.parametrize("kind", ["sqlite"])
    def test_sqlite_is_made_and_upgraded_by_the_daemon(self, empty: Engines) -> None:
        """Who starts with SQLite types no command."""
        prepare(empty)
        assert transact(empty, tables) == set(metadata.tables)

        transact(empty, downgrade)
        prepare(empty)
        assert transact(empty, differences) == []

    @pytest.mark.parametrize("kind", SERVERS)
    def test_a_servers_database_waits_for_its_administrator(self, empty: Engines) -> None:
        """Nodes of two versions may share it: a person says when, after a backup."""
        with pytest.raises(StartError, match=r"revision none .* run: mailctl database upgrade"):
            prepare(empty)
        assert transact(empty, tables) == set()

        upgrade(empty)
        prepare(empty)

    def test_a_newer_database_is_left_alone(self, empty: Engines) -> None:
        """An old version never guesses what a newer one has written."""
        upgrade(empty)
        transact(empty, claim_revision, "f00d")

        for start in (prepare, upgrade):
            with pytest.raises(StartError, match=r"f00d.*newer mailsvc"):
                start(empty)

    @pytest.mark.parametrize("kind", SERVERS)
    def test_a_missing_database_is_told_in_one_line(self, empty_url: str) -> None:
        """The operator reads what is wrong and where to look, and no trace of calls."""
        opened = open_engines(empty_url.replace("/mailsvc_", "/elsewhere_"), 1, 1)

        with pytest.raises(StartError, match=r"elsewhere_.*check database\.url") as told:
            prepare(opened)

        opened.close()
        assert "\n" not in str(told.value)


class TestBrokenFiles:
    """An SQLite file that cannot be used."""

    def test_a_file_that_is_no_database_is_not_touched(self, tmp_path: Path) -> None:
        """A wrong path in config.yaml destroys nothing."""
        file = tmp_path / "precious.txt"
        file.write_bytes(b"my diary, not a database\n" * 100)
        opened = open_engines(f"sqlite:///{file}", 1, 1)

        with pytest.raises(StartError, match="restore it from a backup"):
            prepare(opened)

        opened.close()
        assert file.read_bytes() == b"my diary, not a database\n" * 100

    def test_a_locked_file_is_told(self, tmp_path: Path) -> None:
        """Another program that writes is named as the reason."""
        url = f"sqlite:///{tmp_path / 'mailsvc.db'}"
        other, ours = open_engines(url, 1, 1), open_engines(url, 1, 1)
        prepare(other)
        event.listen(ours.write, "connect", lambda raw, _: raw.execute("PRAGMA busy_timeout = 1"))

        with (
            other.write.begin(),
            pytest.raises(StartError, match="locked by another program"),
        ):
            prepare(ours)

        ours.close()
        other.close()
