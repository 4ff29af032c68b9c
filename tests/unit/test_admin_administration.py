"""What an administrator can do, and what is refused in words that help."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from mailsvc.auth.passwords import make_password
from mailsvc.auth.scram import make_keys, read_keys
from mailsvc.errors import AlreadyThere, CommandError, NotFound, StorageFailed
from mailsvc.interfaces import ISwitchboard
from mailsvc.model.account import Account, Role
from mailsvc.model.address import parse_address
from mailsvc.model.page import LARGEST_PAGE
from mailsvc.model.switch import Switch, switch_of
from mailsvc.model.user import NewUser
from mailsvc.store.schema import transact
from mailsvc.store.settings import read_settings
from mailsvc.store.tables import trail
from tests.support.control_office import Office, PaperSwitchboard, finish, open_office
from tests.support.plain_passwords import ROUNDS


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Open an office for one test."""
    with open_office(tmp_path) as opened:
        yield opened


def _add(office: Office, address: str, **asked: Any) -> Any:
    return finish(office.administration.users.add(NewUser(address=address, **asked), by="uid 7"))


def _found(office: Office, address: str) -> Account | None:
    return finish(office.directory.find(parse_address(address, utf8=True)))


def _story(office: Office) -> list[dict[str, Any]]:
    def read(conn: Connection) -> list[dict[str, Any]]:
        rows = conn.execute(select(trail.c.detail).where(trail.c.event == "control"))
        return [json.loads(detail) for (detail,) in rows]

    return transact(office.engines, read)


class TestAccounts:
    """Accounts are made, changed, listed and deleted."""

    def test_a_new_user_can_log_in_at_once(self, office: Office) -> None:
        """Not even a directory that has just said "unknown" hides a new account."""
        assert _found(office, "alice@test.com") is None

        made = _add(office, "alice@test.com", password=b"correct horse", display_name="Alice")

        account = _found(office, "alice@test.com")
        assert account is not None
        assert [one.hashed for one in account.verifiers] == ["plain:correct horse"]
        assert (account.display_name, account.role) == ("Alice", Role.USER)
        assert made.password is None

    def test_a_password_nobody_gave_is_made_and_told_once(self, office: Office) -> None:
        """The administrator passes it on; it is nowhere else in plain text."""
        made = _add(office, "alice@test.com")

        account = _found(office, "alice@test.com")
        assert account is not None
        assert account.verifiers[0].hashed == f"plain:{made.password}"
        assert made.password not in json.dumps(_story(office))

    def test_a_name_without_a_domain_belongs_to_the_first_domain(self, office: Office) -> None:
        """Who types "alice" means alice@test.com."""
        assert str(_add(office, "alice").address) == "alice@test.com"

    def test_an_address_may_be_written_in_any_script(self, office: Office) -> None:
        """RFC 6531 addresses are addresses."""
        _add(office, "grüße@test.com")

        assert _found(office, "GRÜSSE@test.com") is not None

    def test_limits_and_role_are_kept(self, office: Office) -> None:
        """What was asked for is what the account gets."""
        _add(office, "bob", role=Role.ADMIN, quota_octets=1000, quota_messages=5)

        account = _found(office, "bob@test.com")
        assert account is not None
        assert (account.role, account.quota_octets, account.quota_messages) == (Role.ADMIN, 1000, 5)

    def test_a_changed_password_replaces_the_old_one(self, office: Office) -> None:
        """One account has one password."""
        _add(office, "alice", password=b"the old one")
        assert _found(office, "alice@test.com") is not None

        finish(office.administration.users.set_password("alice", b"the new one", by="uid 7"))

        account = _found(office, "alice@test.com")
        assert account is not None
        assert [one.hashed for one in account.verifiers] == ["plain:the new one"]

    def test_a_new_password_has_keys_for_scram(self, office: Office) -> None:
        """The user need not say it even once."""
        for change in (
            lambda: _add(office, "alice", password=b"the old one"),
            lambda: finish(
                office.administration.users.set_password("alice", b"the new one", by="me")
            ),
        ):
            change()
            account = _found(office, "alice@test.com")
            assert account is not None
            [keys] = [read_keys(str(one.scram)) for one in account.verifiers]
            password = account.verifiers[0].hashed.removeprefix("plain:").encode()
            assert keys == make_keys(password, ROUNDS, keys.salt if keys else b"")

    def test_a_deleted_user_is_gone_at_once(self, office: Office) -> None:
        """Mail to a deleted account is refused from now on."""
        _add(office, "alice")
        assert _found(office, "alice@test.com") is not None

        gone = finish(office.administration.users.delete("alice", by="uid 7"))

        assert str(gone) == "alice@test.com"
        assert _found(office, "alice@test.com") is None

    def test_how_long_mail_is_kept_is_known_at_once(self, office: Office) -> None:
        """POP3 tells it to the next client, and the trail who said so."""
        _add(office, "alice")
        assert finish(office.directory.shortest_keep()) is None

        whose = finish(office.administration.users.set_keep("alice", 30, by="uid 7"))

        account = _found(office, str(whose))
        assert account is not None
        assert (account.keep_days, finish(office.directory.shortest_keep())) == (30, 30)
        finish(office.administration.users.set_keep("alice", None, by="uid 7"))
        assert finish(office.directory.shortest_keep()) is None
        told = _story(office)[1:]
        assert [(one["did"], one["address"], one["days"]) for one in told] == [
            ("user keep", "alice@test.com", 30),
            ("user keep", "alice@test.com", None),
        ]

    @pytest.mark.parametrize("days", [0, -1, 36_501])
    def test_mail_is_kept_for_a_day_at_least(self, office: Office, days: int) -> None:
        """And a number of days that nobody means is refused."""
        with pytest.raises(CommandError, match=f"for {days} days: 1 to 36500, or always"):
            finish(office.administration.users.set_keep("admin", days, by="uid 7"))

    def test_the_list_comes_in_pages(self, office: Office) -> None:
        """Each page says where the next one begins; the last one says that it is."""
        for name in ("alice", "bob", "carol"):
            _add(office, name)

        first = finish(office.administration.users.list("", 2))
        second = finish(office.administration.users.list(first.next or "", 2))

        names = [one.address.local for one in (*first.rows, *second.rows)]
        assert names == ["admin", "alice", "bob", "carol"]
        assert second.next is None

    def test_every_change_is_in_the_trail_without_passwords(self, office: Office) -> None:
        """Later one can see who did what."""
        _add(office, "alice", password=b"a first secret")
        finish(office.administration.users.set_password("alice", b"a second secret", by="uid 8"))
        finish(office.administration.users.delete("alice", by="uid 9"))
        finish(office.administration.services.switch("pop3", running=False, by="uid 7"))

        told = _story(office)

        assert [(one["did"], one["by"]) for one in told] == [
            ("user add", "uid 7"),
            ("user passwd", "uid 8"),
            ("user delete", "uid 9"),
            ("service stop", "uid 7"),
        ]
        assert "secret" not in json.dumps(told)


class TestRefusals:
    """A refused command changes nothing and says what to do."""

    @pytest.mark.parametrize(
        ("address", "text"),
        [
            ("alice@", "not a mail address"),
            ("al ice@test.com", "not a mail address"),
            ("", "not a mail address"),
            ("x" * 65 + "@test.com", "longer than 64 octets"),
        ],
    )
    def test_what_is_no_address_is_refused(self, office: Office, address: str, text: str) -> None:
        """The text says why."""
        with pytest.raises(CommandError, match=text):
            _add(office, address)

    @pytest.mark.parametrize(
        ("password", "text"),
        [
            (b"", "too short"),
            (b"seven77", "too short"),
            ("ééééééé".encode(), "too short"),
            (b"x" * 1025, "too long"),
            (b"two\r\nlines!", "one line"),
            (b"a\0b\0c\0d\0e", "one line"),
        ],
    )
    def test_a_bad_password_is_refused(self, office: Office, password: bytes, text: str) -> None:
        """POP3 and SMTP could not send it, or anyone could guess it."""
        with pytest.raises(CommandError, match=text):
            _add(office, "alice", password=password)

        assert _found(office, "alice@test.com") is None

    @pytest.mark.parametrize(
        "asked",
        [
            {"display_name": "x" * 256},
            {"display_name": "a\x1b[2Jb"},
            {"quota_octets": -1},
            {"quota_messages": -1},
            {"quota_octets": 1 << 63},
        ],
    )
    def test_impossible_details_are_refused(self, office: Office, asked: dict[str, Any]) -> None:
        """A name that clears the terminal, a quota of nothing."""
        with pytest.raises(CommandError):
            _add(office, "alice", **asked)

    def test_an_account_is_made_once(self, office: Office) -> None:
        """The second one hears that it exists."""
        _add(office, "alice")

        with pytest.raises(AlreadyThere, match=r"Alice@test\.com exists already"):
            _add(office, "Alice@TEST.com")

    def test_an_account_needs_a_domain_of_ours(self, office: Office) -> None:
        """We do not take mail for others' domains."""
        with pytest.raises(NotFound, match=r"example\.com is not one of ours"):
            _add(office, "alice@example.com")

    def test_without_a_domain_the_whole_address_is_asked_for(self, office: Office) -> None:
        """A database that was never set up has no first domain."""
        transact(office.engines, lambda conn: conn.exec_driver_sql("DELETE FROM account"))
        transact(office.engines, lambda conn: conn.exec_driver_sql("DELETE FROM domain"))

        with pytest.raises(CommandError, match="write the whole address"):
            _add(office, "alice")

    def test_who_does_not_exist_cannot_be_changed(self, office: Office) -> None:
        """Neither the password nor the account."""
        with pytest.raises(NotFound, match=r"no account nobody@test\.com"):
            finish(office.administration.users.set_password("nobody", None, by="uid 7"))
        with pytest.raises(NotFound, match=r"no account nobody@test\.com"):
            finish(office.administration.users.delete("nobody", by="uid 7"))

    def test_the_last_administrator_stays(self, office: Office) -> None:
        """Somebody must get the mail to postmaster."""
        with pytest.raises(CommandError, match="last administrator"):
            finish(office.administration.users.delete("admin", by="uid 7"))

    @pytest.mark.parametrize("most", [0, -1, LARGEST_PAGE + 1])
    def test_a_page_has_a_limit(self, office: Office, most: int) -> None:
        """Nobody can ask for everything at once."""
        with pytest.raises(CommandError, match="a page has 1 to 200"):
            finish(office.administration.users.list("", most))

    def test_a_change_that_was_not_stored_is_not_in_the_trail(self, office: Office) -> None:
        """Change and trail are one transaction."""
        office.database.broken = StorageFailed()

        with pytest.raises(StorageFailed):
            _add(office, "alice@test.com")

        assert _story(office) == []


class TestServices:
    """Services are started and stopped, and stay so."""

    def test_a_stopped_service_is_remembered(self, office: Office) -> None:
        """The daemon reads it at its next start."""
        finish(office.administration.services.switch("smtp", running=False, by="uid 7"))

        assert not office.switchboard.running("smtp")
        assert office.switchboard.running("pop3")
        assert transact(office.engines, read_settings) == {"service.smtp.running": False}

    def test_a_stopped_service_can_be_started_again(self, office: Office) -> None:
        """And stays started."""
        finish(office.administration.services.switch("smtp", running=False, by="uid 7"))
        finish(office.administration.services.switch("smtp", running=True, by="uid 7"))

        assert office.switchboard.running("smtp")
        assert transact(office.engines, read_settings) == {"service.smtp.running": True}

    def test_a_service_that_cannot_start_stays_stopped(self, office: Office) -> None:
        """A port that somebody else has is told; nothing is remembered."""
        finish(office.administration.services.switch("smtp", running=False, by="uid 7"))
        office.switchboard.broken = "port 2525 is taken"

        with pytest.raises(CommandError, match="port 2525 is taken"):
            finish(office.administration.services.switch("smtp", running=True, by="uid 7"))

        assert not office.switchboard.running("smtp")
        assert transact(office.engines, read_settings) == {"service.smtp.running": False}

    @pytest.mark.parametrize("running", [True, False])
    def test_what_cannot_be_remembered_is_not_done(self, office: Office, *, running: bool) -> None:
        """Otherwise the next start of the daemon would bring a surprise."""
        if running:
            finish(office.administration.services.switch("pop3", running=False, by="uid 7"))
        office.database.broken = StorageFailed()

        with pytest.raises(StorageFailed):
            finish(office.administration.services.switch("pop3", running=running, by="uid 7"))

        assert office.switchboard.running("pop3") is not running

    def test_what_is_no_service_is_refused(self, office: Office) -> None:
        """The text names those that are."""
        with pytest.raises(NotFound, match="smtp, pop3, and the listeners mx, submission, pop3"):
            finish(office.administration.services.switch("imap", running=True, by="uid 7"))

    def test_one_listener_is_stopped(self, office: Office) -> None:
        """The others of its service go on; one that is called like a service has a path."""
        switch = office.administration.services.switch
        finish(switch("mx", running=False, by="uid 7"))
        finish(switch("listeners.pop3", running=False, by="uid 7"))

        states = {one.name: one.running for one in office.switchboard.listeners()}
        assert states == {"mx": False, "submission": True, "pop3": False}

    def test_a_service_takes_its_listeners_along(self, office: Office) -> None:
        """Whatever each was told before."""
        switch = office.administration.services.switch
        finish(switch("mx", running=False, by="uid 7"))
        finish(switch("smtp", running=True, by="uid 7"))

        assert office.switchboard.running("smtp")
        assert transact(office.engines, read_settings) == {"service.smtp.running": True}

    def test_a_switch_turns_by_itself(self, office: Office) -> None:
        """On every node, and after a restart: the moment is written down."""
        before = datetime.now(UTC)
        span = timedelta(hours=2)
        finish(office.administration.services.switch("smtp", running=False, by="u", span=span))
        rows = transact(office.engines, read_settings)

        early = switch_of(rows, "mx", "smtp", before + timedelta(hours=1))
        assert early == Switch(running=False, until=early.until)
        assert early.until is not None
        assert early.until - before >= span
        assert switch_of(rows, "mx", "smtp", before + timedelta(hours=3)) == Switch()
        assert switch_of(rows, "pop3", "pop3", before) == Switch()

    def test_the_switchboard_on_paper_is_one(self) -> None:
        """What the tests use keeps to the interface."""
        assert verifyObject(ISwitchboard, PaperSwitchboard())


class TestStatus:
    """The status is there most of all when something is wrong."""

    def test_the_status_tells_what_there_is(self, office: Office) -> None:
        """Version, uptime, database, listeners."""
        office.clock.advance(90)

        seen = finish(office.administration.health.status())

        assert (seen.version, seen.hostname) == ("1.2.3", "mail.test.com")
        assert seen.uptime.total_seconds() == 90
        assert seen.engine is not None
        assert seen.engine.startswith("SQLite 3.")
        assert seen.revision
        assert (seen.domains, seen.accounts, seen.waiting, seen.fault) == (1, 1, 0, None)
        assert [one.name for one in seen.listeners] == ["mx", "submission", "pop3"]

    def test_a_lost_database_is_a_line_of_the_status(self, office: Office) -> None:
        """It tells why, and does not hide the rest."""
        office.database.broken = StorageFailed()
        office.database.broken.__cause__ = OSError(5, "the cable is out\nsee the manual")

        seen = finish(office.administration.health.status())

        assert seen.fault == "the cable is out"
        assert (seen.engine, seen.accounts) == (None, None)
        assert len(seen.listeners) == 3

    def test_a_silent_database_does_not_hold_up_the_status(self, office: Office) -> None:
        """After five seconds the rest is told."""
        office.database.waits = Deferred()
        asked = Deferred.fromCoroutine(office.administration.health.status())

        office.clock.advance(5)

        assert finish(_wait_for(asked)).fault == "no answer within 5 seconds"


async def _wait_for(asked: "Deferred[Any]") -> Any:
    return await asked


class TestMadePasswords:
    """Passwords that people read out and type."""

    def test_no_character_can_be_mistaken_for_another(self) -> None:
        """No i, l and 1, no o and 0; 20 characters of 31 are 99 bits."""
        made = {make_password() for _ in range(200)}

        assert len(made) == 200
        assert not set("".join(made)) & set("ilo01")
        assert all(len(one.replace("-", "")) == 20 for one in made)
