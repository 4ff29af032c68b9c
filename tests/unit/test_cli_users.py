"""mailctl user: what changes accounts; the daemon is in memory."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, update

from mailsvc.cli.main import program
from mailsvc.cli.place import Doors
from mailsvc.model.account import Account, Role, Scope
from mailsvc.model.address import parse_address
from mailsvc.model.user import NewUser
from mailsvc.store.schema import transact
from mailsvc.store.tables import account as accounts
from tests.support.control_line import talk_in_memory
from tests.support.control_office import Office, finish, open_office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Open an office with alice for one test."""
    with open_office(tmp_path) as opened:
        new = NewUser(address="alice", password=b"correct horse")
        finish(opened.administration.users.add(new, by="test"))
        yield opened


def _user(office: Office, *arguments: str) -> Result:
    talk = talk_in_memory(office.administration, office.clock)
    doors = Doors(talk=talk, interactive=lambda: False)
    return CliRunner().invoke(program, ("--socket", "/in/memory", "user", *arguments), obj=doors)


def _done(office: Office, *arguments: str) -> str:
    done = _user(office, *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def _shown(office: Office, address: str = "alice") -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(_done(office, "show", address, "--json"))
    return shown


def _found(office: Office, address: str) -> Account | None:
    return finish(office.directory.find(parse_address(address)))


def _alice(office: Office) -> Account:
    found = _found(office, "alice@test.com")
    assert found is not None
    return found


class TestSwitches:
    """Accounts and their front ends are switched, for good or for a time."""

    def test_a_disabled_account_is_enabled_again(self, office: Office) -> None:
        """And both are said."""
        assert _done(office, "disable", "alice") == "alice@test.com is disabled.\n"
        assert not _alice(office).enabled

        assert _done(office, "enable", "alice") == "alice@test.com is enabled.\n"
        assert _alice(office).enabled

    def test_one_front_end_is_switched(self, office: Office) -> None:
        """The others stay as they are."""
        assert _done(office, "switch", "alice", "pop3", "off") == "alice@test.com: pop3 off.\n"

        assert _alice(office).scopes == {Scope.SMTP, Scope.WEB}

    def test_a_switch_turns_back_by_itself(self, office: Office) -> None:
        """Nobody has to think of it, and a restart does not matter."""
        told = _done(office, "switch", "alice", "smtp", "off", "--for", "2h")
        assert " smtp off until " in told
        assert list(_shown(office)["turns"]) == ["smtp"]
        assert Scope.SMTP not in _alice(office).scopes

        def two_hours_later(conn: Connection) -> None:
            past = datetime.now(UTC) - timedelta(seconds=1)
            conn.execute(update(accounts).values(smtp_until=past))

        transact(office.engines, two_hours_later)
        office.directory.forget()

        assert Scope.SMTP in _alice(office).scopes
        assert _shown(office)["turns"] == {}

    def test_switching_without_a_time_is_for_good(self, office: Office) -> None:
        """Also when there was a time before."""
        _done(office, "disable", "alice", "--for", "1h")
        _done(office, "disable", "alice")

        assert _shown(office)["turns"] == {}

    @pytest.mark.parametrize("span", ["0", "soon", "-1h", "99999999d"])
    def test_a_time_that_is_none_is_refused(self, office: Office, span: str) -> None:
        """Before anything is changed."""
        assert _user(office, "disable", "alice", f"--for={span}").exit_code == 2
        assert _alice(office).enabled


class TestAdministrators:
    """There is always somebody who can administrate."""

    @pytest.mark.parametrize(
        "command",
        [("disable", "admin"), ("revoke", "admin", "admin"), ("delete", "admin", "--yes")],
    )
    def test_the_last_administrator_stays(self, office: Office, command: tuple[str, ...]) -> None:
        """A disabled one is nobody to rely on."""
        _done(office, "grant", "alice", "admin")
        _done(office, "disable", "alice")

        refused = _user(office, *command)

        assert refused.exit_code == 1
        assert "last administrator; make another one first" in refused.stderr

    def test_with_a_second_one_the_first_may_go(self, office: Office) -> None:
        """Granted, revoked, said."""
        told = _done(office, "grant", "alice", "admin")
        assert told == "alice@test.com is an administrator now.\n"
        told = _done(office, "revoke", "admin", "admin")
        assert told == "admin@test.com is no administrator any more.\n"
        assert _alice(office).role is Role.ADMIN


class TestChanges:
    """Name, language, quotas and the address itself."""

    def test_name_language_and_quotas_are_changed(self, office: Office) -> None:
        """And shown."""
        options = ("--name", "Alice E.", "--language", "zh", "--quota", "1GiB")
        _done(office, "set", "alice", *options, "--quota-messages", "none")

        shown = _shown(office)
        assert (shown["name"], shown["language"]) == ("Alice E.", "zh")
        assert (shown["quota_octets"], shown["quota_messages"]) == (1 << 30, None)
        assert shown["quota_messages_from"] == "account"

        _done(office, "set", "alice", "--quota-messages", "default")
        assert _shown(office)["quota_messages_from"] == "nobody"

    @pytest.mark.parametrize(
        "options", [(), ("--language", "???"), ("--name", "a\x1b[2J"), ("--quota", "much")]
    )
    def test_what_cannot_be_is_refused(self, office: Office, options: tuple[str, ...]) -> None:
        """In words."""
        refused = _user(office, "set", "alice", *options)

        assert refused.exit_code in {1, 2}
        assert len(refused.stderr.splitlines()) <= 4

    def test_a_renamed_account_keeps_what_it_has(self, office: Office) -> None:
        """Its password, its mail, and the aliases that lead to it."""
        before = _alice(office)

        assert _done(office, "rename", "alice", "alix") == "The account is alix@test.com now.\n"

        after = _found(office, "alix@test.com")
        assert after is not None
        assert (after.id, after.verifiers) == (before.id, before.verifiers)
        assert _found(office, "alice@test.com") is None

    @pytest.mark.parametrize("new", ["admin", "alix@example.org", "no address@@"])
    def test_a_name_that_cannot_be_is_refused(self, office: Office, new: str) -> None:
        """Taken, not ours, or no address."""
        assert _user(office, "rename", "alice", new).exit_code == 1
        assert _found(office, "alice@test.com") is not None

    def test_the_list_is_asked_for_some(self, office: Office) -> None:
        """By domain, text, role and state."""

        def listed(*options: str) -> list[str]:
            rows = json.loads(_done(office, "list", "--json", *options))
            return [row["address"].partition("@")[0] for row in rows]

        _done(office, "disable", "alice")

        assert listed() == ["admin", "alice"]
        assert listed("--admin") == ["admin"]
        assert listed("--disabled") == ["alice"]
        assert listed("--search", "LIC") == ["alice"]
        assert listed("--search", "%") == []
        assert listed("--domain", "example.org") == []

    @pytest.mark.parametrize(
        "command", [("show",), ("enable",), ("rename", "x"), ("grant", "admin")]
    )
    def test_nobody_is_told_so(self, office: Office, command: tuple[str, ...]) -> None:
        """By every command."""
        verb, *rest = command
        refused = _user(office, verb, "nobody", *rest)

        assert (refused.exit_code, "no account nobody@test.com" in refused.stderr) == (1, True)


class TestKeepingMail:
    """Mail is saved before its account goes."""

    def test_mail_is_saved_and_the_account_deleted(self, office: Office, tmp_path: Path) -> None:
        """An account without mail has an mbox without messages."""
        file = tmp_path / "alice.mbox"

        told = _done(office, "delete", "alice", "--yes", "--keep-mail", str(file))

        assert "Saved 0 messages" in told
        assert "Deleted the account alice@test.com." in told
        assert file.read_bytes() == b""
        assert _found(office, "alice@test.com") is None

    def test_a_file_is_never_written_over(self, office: Office, tmp_path: Path) -> None:
        """And the account is as it was."""
        file = tmp_path / "alice.mbox"
        file.write_text("precious")

        refused = _user(office, "delete", "alice", "--yes", "--keep-mail", str(file))

        assert (refused.exit_code, file.read_text()) == (1, "precious")
        assert _alice(office).enabled
