"""The daemon's end of the control channel against friends, strangers and broken clients."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import capturedLogs
from twisted.protocols.amp import AMP, AmpBox, Command, RemoteAmpError
from twisted.python.failure import Failure

from mailsvc.control.answers import ANSWERS
from mailsvc.control.client import ANSWER_LIMIT, ControlError
from mailsvc.control.commands.base import (
    FATAL_ERRORS,
    VERSION,
    Fault,
    Forbidden,
    TookTooLong,
    Unavailable,
    WrongVersion,
)
from mailsvc.control.commands.registration import PUBLIC
from mailsvc.control.commands.services import Status
from mailsvc.control.connection import COMMAND_LIMIT, HELLO_LIMIT, MOST_KEYS, MOST_RUNNING
from mailsvc.errors import AlreadyThere, CommandError, NotFound, StorageFailed
from mailsvc.model.account import Role
from mailsvc.model.user import NewUser
from tests.support.control_line import Line
from tests.support.control_office import Office, finish, open_office

HELLO = {b"_command": b"Hello", b"_ask": b"1", b"version": b"%d" % VERSION}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Open an office for one test."""
    with open_office(tmp_path) as opened:
        yield opened


@pytest.fixture
def line(office: Office) -> Line:
    """Connect and say hello."""
    return Line(office.administration, office.clock).greeted()


def _line(office: Office, uid: int | None = -1) -> Line:
    return Line(office.administration, office.clock, uid)


def _ask(name: bytes, tag: bytes = b"9", **arguments: bytes) -> dict[bytes, bytes]:
    given = {key.encode(): value for key, value in arguments.items()}
    return {b"_command": name, b"_ask": tag, **given}


def _code(boxes: list[Any]) -> bytes:
    assert len(boxes) == 1
    code: bytes = boxes[0][b"_error_code"]
    return code


class TestCommands:
    """Every command does what its name says, and its values survive the wire."""

    def test_a_user_is_made_listed_changed_and_deleted(self, line: Line) -> None:
        """The whole life of an account."""
        client = line.client
        new = NewUser(
            address="bob",
            password=b"correct horse",
            display_name="Bob Bär",
            role=Role.ADMIN,
            quota_octets=1 << 40,
            quota_messages=3,
        )

        assert str(line.finish(client.users.add(new)).address) == "bob@test.com"
        bob = line.finish(client.users.list("", 2)).rows[1]
        assert (bob.display_name, bob.role, bob.quota_octets) == ("Bob Bär", Role.ADMIN, 1 << 40)
        assert line.finish(client.users.set_password("bob", None)).password
        assert str(line.finish(client.users.set_keep("bob", 30))) == "bob@test.com"
        assert line.finish(client.users.list("", 2)).rows[1].keep_days == 30
        line.finish(client.users.set_keep("bob", None))
        assert line.finish(client.users.list("", 2)).rows[1].keep_days is None
        assert str(line.finish(client.users.delete("bob"))) == "bob@test.com"
        assert len(line.finish(client.users.list()).rows) == 1

    def test_the_wire_changes_nothing(self, office: Office, line: Line) -> None:
        """What the client gives is equal to what the administration gave."""
        page = line.finish(line.client.users.list())
        seen = line.finish(line.client.services.status())

        assert page == finish(office.administration.users.list("", 200))
        assert seen == finish(office.administration.health.status())

    def test_a_service_is_stopped_and_started(self, office: Office, line: Line) -> None:
        """For now and for later."""
        line.finish(line.client.services.stop("pop3"))
        assert not office.switchboard.running("pop3")

        line.finish(line.client.services.start("pop3"))
        assert office.switchboard.running("pop3")

    def test_refusals_keep_their_kind_and_their_text(self, line: Line) -> None:
        """A program need not read English to know what is wrong."""
        with pytest.raises(NotFound, match=r"no account nobody@test\.com"):
            line.finish(line.client.users.delete("nobody"))
        with pytest.raises(AlreadyThere, match="exists already"):
            line.finish(line.client.users.add(NewUser(address="admin")))
        with pytest.raises(CommandError, match="too short"):
            line.finish(line.client.users.set_password("admin", b"short"))

    def test_a_lost_database_is_told(self, office: Office, line: Line) -> None:
        """As what it is, and nothing closes."""
        office.database.broken = StorageFailed()

        with pytest.raises(Unavailable, match="storage is not available"):
            line.finish(line.client.users.list())

        assert line.raw.open


class TestWho:
    """Only the daemon's user and root command it."""

    @pytest.mark.parametrize("uid", [0, os.geteuid(), None])
    def test_root_and_the_daemons_user_come_in(self, office: Office, uid: int | None) -> None:
        """None: the system does not say who it is, and the mode of the socket must do."""
        assert _line(office, uid).greeted().raw.open

    def test_another_user_is_refused_and_sent_away(self, office: Office) -> None:
        """At the first command that is not for everybody."""
        line = _line(office, 12345).greeted()
        assert line.finish(line.client.registration.rules()).mode == "closed"

        with pytest.raises(Forbidden, match="only root and the user of the daemon"):
            line.finish(line.client.services.status())

        assert not line.raw.open

    @pytest.mark.parametrize("command", list(ANSWERS))
    def test_everybody_may_say_three_commands(self, office: Office, command: type[Command]) -> None:
        """And no other one, whatever its arguments are: whoever adds a command sees this."""
        public = {b"RegistrationRules", b"Register", b"OwnPassword"}
        assert (command in PUBLIC) == (command.commandName in public)
        line = _line(office, 12345).greeted()

        line.says(_ask(command.commandName))

        assert line.raw.open == (command in PUBLIC)

    def test_commands_behind_a_refusal_are_not_done(self, office: Office) -> None:
        """Nothing slips in behind the hello in the same packet."""
        line = _line(office, 12345)

        line.says(HELLO, _ask(b"ServiceStop", service=b"smtp"))

        assert office.switchboard.running("smtp")
        assert not line.raw.open

    def test_hello_comes_first(self, office: Office) -> None:
        """Without it, nobody knows which version speaks."""
        line = _line(office)

        assert _code(line.says(_ask(b"ServiceStop", service=b"smtp"))) == b"MISUNDERSTOOD"
        assert office.switchboard.running("smtp")

    def test_another_version_hears_so(self, office: Office) -> None:
        """In words that say what to do."""
        line = _line(office)

        heard = line.says({**HELLO, b"version": b"2"})

        assert _code(heard) == FATAL_ERRORS[WrongVersion]
        assert b"use the mailctl that was installed with it" in heard[0][b"_error_description"]
        assert not line.raw.open

    def test_who_says_nothing_is_sent_away(self, office: Office) -> None:
        """A connection without hello is not kept."""
        line = _line(office)

        line.passes(HELLO_LIMIT)

        assert not line.raw.open
        assert not line.house.connections

    def test_who_has_said_hello_may_stay(self, line: Line) -> None:
        """A program may keep its connection."""
        line.passes(24 * 3600)

        assert line.finish(line.client.services.status()).accounts == 1


class TestWhatAmpWouldDo:
    """AMP closes the connection or waits for ever in each of these cases: we answer."""

    def test_a_fault_of_ours_is_logged_and_told(self, office: Office, line: Line) -> None:
        """The client hears where to look, no detail; the connection stays."""
        office.database.broken = ZeroDivisionError("a secret detail")

        with capturedLogs() as logged, pytest.raises(Fault, match="its log says why") as caught:
            line.finish(line.client.users.list())

        assert "secret" not in str(caught.value)
        assert any("log_failure" in event for event in logged)
        assert line.raw.open

    @pytest.mark.parametrize(
        "box",
        [
            _ask(b"UserList", most=b"many"),
            _ask(b"UserList", after=b"\xff"),
            _ask(b"UserAdd"),
            _ask(b"UserAdd", address=b"bob", role=b"king"),
            _ask(b"ServiceStop"),
        ],
    )
    def test_arguments_that_cannot_be_read_are_told(
        self, line: Line, box: dict[bytes, bytes]
    ) -> None:
        """They are the client's mistake, and not worth a connection."""
        assert _code(line.says(box)) == b"MISUNDERSTOOD"
        assert line.raw.open

    @pytest.mark.parametrize("name", [b"UserMarry", b"StartTLS", b"\xff\x00", b"raw"])
    def test_an_unknown_command_is_told(self, line: Line, name: bytes) -> None:
        """A newer client finds out what we cannot do."""
        assert _code(line.says(_ask(name))) == b"UNHANDLED"
        assert line.raw.open

    def test_unknown_arguments_are_ignored(self, line: Line) -> None:
        """A newer client may say more."""
        heard = line.says(_ask(b"UserList", colour=b"blue"))

        assert b"_answer" in heard[0]

    def test_an_answer_that_is_too_large_is_told(self, office: Office, line: Line) -> None:
        """AMP would find out when it is too late."""
        office.administration.health.hostname = "x" * 70_000

        with capturedLogs(), pytest.raises(Fault):
            line.finish(line.client.services.status())

        assert line.raw.open

    def test_a_command_that_is_too_large_is_refused(self, line: Line) -> None:
        """At the client already; the next one works."""
        with pytest.raises(CommandError, match="display_name is too long"):
            line.finish(line.client.users.add(NewUser(address="bob", display_name="x" * 70_000)))

        assert line.finish(line.client.services.status()).accounts == 1

    def test_a_long_list_arrives_whole(self, office: Office, line: Line) -> None:
        """Pages are cut where a value of AMP would be too large."""
        for number in range(120):
            name = f"{number:03}" + "\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 250
            new = NewUser(address=f"{'x' * 60}{number:03}", display_name=name)
            finish(office.administration.users.add(new, by="test"))

        first = line.finish(line.client.users.list())
        second = line.finish(line.client.users.list(first.next or ""))
        third = line.finish(line.client.users.list(second.next or ""))

        pages = (first, second, third)
        assert [one.display_name[:3] for page in pages for one in page.rows][1:] == [
            f"{number:03}" for number in range(120)
        ]
        assert third.next is None

    def test_a_command_has_a_time_limit(self, office: Office, line: Line) -> None:
        """The client hears that it may still be done; the connection stays."""
        office.database.waits = Deferred()
        outcome = line.start(line.client.users.list())

        line.passes(COMMAND_LIMIT)

        assert isinstance(outcome[0], Failure)
        assert outcome[0].check(TookTooLong)
        assert line.raw.open

    def test_a_command_past_its_time_is_not_cut_off(self, office: Office, line: Line) -> None:
        """Half a command would be worse than a late one."""
        office.database.waits = waits = Deferred[None]()
        line.start(line.client.users.list())
        line.passes(COMMAND_LIMIT)
        assert len(line.house.background) == 1

        waits.callback(None)

        assert len(line.house.background) == 0

    def test_commands_in_a_flood_wait_unread(self, office: Office, line: Line) -> None:
        """Only so many run at once; all are answered in the end."""
        office.database.waits = waits = Deferred[None]()
        flood = [_ask(b"UserList", b"%x" % (number + 100)) for number in range(MOST_RUNNING * 5)]

        heard = line.says(*flood)
        assert heard == []
        assert len(line.house.background) == MOST_RUNNING

        office.database.waits = None
        waits.callback(None)
        line.flush()
        assert len(line.raw.heard) == 1 + len(flood)
        assert len(line.house.background) == 0

    def test_nothing_is_done_for_who_has_left(self, office: Office, line: Line) -> None:
        """What waited unread behind a flood goes with its connection."""
        office.database.waits = waits = Deferred[None]()
        line.says(*(_ask(b"UserList", b"%x" % (number + 100)) for number in range(MOST_RUNNING)))
        line.says(_ask(b"ServiceStop", service=b"smtp"))

        line.hangs_up()
        waits.callback(None)
        line.passes(1)

        assert office.switchboard.running("smtp")

    def test_a_box_without_end_is_cut_off(self, line: Line) -> None:
        """Memory is not for the taking."""
        key = b"\x00\x04k%03d\x00\x01x"

        line.sends(b"".join(key % number for number in range(MOST_KEYS + 1)))

        assert not line.raw.open

    @pytest.mark.parametrize(
        "box",
        [
            {b"colour": b"blue"},
            {b"_answer": b"1"},
            {b"_error": b"1", b"_error_code": b"X", b"_error_description": b"?"},
            {b"_command": b"ServiceStop", b"service": b"smtp"},
        ],
    )
    def test_what_is_no_command_ends_the_connection(
        self, office: Office, line: Line, box: dict[bytes, bytes]
    ) -> None:
        """Without a traceback; a command that wants no answer is none either."""
        with capturedLogs() as logged:
            line.says(box)

        assert not line.raw.open
        assert not any("log_failure" in event for event in logged)
        assert office.switchboard.running("smtp")


class TestClient:
    """The client's end tells what happened, whatever the other end does."""

    def test_a_silent_daemon_is_not_waited_for_for_ever(self, office: Office, line: Line) -> None:
        """Even if its own time limit fails."""
        office.database.waits = Deferred()
        line.server.transport = None
        outcome = line.start(line.client.users.list())

        line.passes(ANSWER_LIMIT)

        assert isinstance(outcome[0], Failure)
        assert outcome[0].check(ControlError)
        assert "did not answer" in str(outcome[0].value)

    def test_a_lost_daemon_is_told(self, office: Office, line: Line) -> None:
        """Nobody knows what became of the command, and the text says where to look."""
        office.database.waits = Deferred()
        outcome = line.start(line.client.users.list())

        line.server.close()
        line.flush()

        assert isinstance(outcome[0], Failure)
        assert outcome[0].check(ControlError)
        assert "mailctl status" in str(outcome[0].value)

    def test_a_daemon_that_lacks_a_command_is_told(
        self, line: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is older than the client."""
        monkeypatch.setattr(line.server, "locateResponder", lambda _name: None)

        with pytest.raises(ControlError, match="another version"):
            line.finish(line.client.services.status())

    def test_an_error_of_a_later_daemon_is_told(
        self, line: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A kind of error that we do not know yet is an error all the same."""
        refusal = RemoteAmpError(b"TOO_EARLY", "the moon is not full")
        monkeypatch.setattr(
            line.server, "locateResponder", lambda _name: lambda _box: fail(refusal)
        )

        with pytest.raises(ControlError, match="the moon is not full"):
            line.finish(line.client.services.status())

    def test_an_answer_that_lacks_something_is_told(
        self, line: Line, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It comes from a daemon of another version."""
        monkeypatch.setattr(
            line.server, "locateResponder", lambda _name: lambda _box: succeed(AmpBox())
        )

        with pytest.raises(ControlError, match="another version"):
            line.finish(line.client.services.status())

    def test_stock_clients_can_talk_to_us(self, line: Line) -> None:
        """The channel is plain AMP."""
        asked = AMP.callRemote(line.raw, Status)
        line.flush()

        assert finish(_wait_for(asked))["hostname"] == "mail.test.com"


async def _wait_for(asked: "Deferred[Any]") -> Any:
    return await asked
