"""mailctl as its users see it: what it prints, asks and refuses; the daemon is in memory."""

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from mailsvc.cli.main import program
from mailsvc.cli.output import Column, duration, show_table, size
from mailsvc.cli.place import Doors
from mailsvc.cli.services import _COLUMNS
from mailsvc.control.client import ControlError
from mailsvc.errors import NotReachable, StorageFailed
from mailsvc.model.address import parse_address
from mailsvc.model.user import NewUser
from tests.support.control_line import talk_in_memory
from tests.support.control_office import Office, finish, open_office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Open an office for one test."""
    with open_office(tmp_path) as opened:
        yield opened


def _mailctl(
    office: Office, *arguments: str, stdin: str | bytes = "", terminal: bool = False
) -> Result:
    talk = talk_in_memory(office.administration, office.clock)
    doors = Doors(talk=talk, interactive=lambda: terminal)
    place = ("--socket", "/in/memory")
    return CliRunner().invoke(program, (*place, *arguments), input=stdin, obj=doors)


def _offline(*arguments: str) -> Result:
    return CliRunner().invoke(program, arguments, obj=Doors(interactive=lambda: False))


def _add(office: Office, address: str, **asked: Any) -> None:
    finish(office.administration.users.add(NewUser(address=address, **asked), by="test"))


def _verifier(office: Office, address: str) -> str | None:
    account = finish(office.directory.find(parse_address(address, utf8=True)))
    return None if account is None else account.verifiers[0].hashed


class TestUserAdd:
    """``mailctl user add``."""

    def test_a_password_is_asked_for_twice_and_never_shown(self, office: Office) -> None:
        """A typing mistake would lock the user out."""
        done = _mailctl(office, "user", "add", "bob", stdin="my secret\nmy secret\n", terminal=True)

        assert (done.exit_code, done.stdout) == (0, "Made the account bob@test.com.\n")
        assert "my secret" not in done.output
        assert _verifier(office, "bob@test.com") == "plain:my secret"

    def test_a_password_comes_from_a_pipe(self, office: Office) -> None:
        """Its last line end is none of it; everything else is."""
        done = _mailctl(
            office, "user", "add", "bob", "--password-stdin", stdin=" größer als du \r\n"
        )

        assert done.exit_code == 0
        assert _verifier(office, "bob@test.com") == "plain: größer als du "

    def test_a_password_is_made_and_shown_once(self, office: Office) -> None:
        """On a line of its own."""
        done = _mailctl(office, "user", "add", "bob", "--generate")

        made = done.stdout.splitlines()[1].removeprefix("Password: ")
        assert _verifier(office, "bob@test.com") == f"plain:{made}"

    def test_programs_get_json(self, office: Office) -> None:
        """With the password only when it was made."""
        made = json.loads(_mailctl(office, "user", "add", "bob", "--generate", "--json").stdout)
        given = _mailctl(
            office, "user", "add", "carl", "--password-stdin", "--json", stdin="my secret"
        )

        assert made["address"] == "bob@test.com"
        assert _verifier(office, "bob@test.com") == f"plain:{made['password']}"
        assert json.loads(given.stdout) == {"address": "carl@test.com"}

    def test_name_role_and_limits_are_options(self, office: Office) -> None:
        """Sizes are written as in config.yaml."""
        _mailctl(
            office,
            *("user", "add", "bob", "--generate", "--admin", "--name", "Bob B."),
            *("--quota", "500MiB", "--quota-messages", "10"),
        )

        listed = json.loads(_mailctl(office, "user", "list", "--json").stdout)
        bob = listed[1]
        assert (bob["name"], bob["role"]) == ("Bob B.", "admin")
        assert (bob["quota_octets"], bob["quota_messages"]) == (500 << 20, 10)

    def test_without_a_terminal_a_password_is_not_asked_for(self, office: Office) -> None:
        """A script hears what to say instead of waiting for ever."""
        done = _mailctl(office, "user", "add", "bob")

        assert done.exit_code == 2
        assert "use --password-stdin" in done.stderr
        assert _verifier(office, "bob@test.com") is None

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--generate", "--password-stdin"),
            ("--generate", "--quota", "much"),
            ("--generate", "--quota-messages", "0"),
            ("--password", "my secret"),
        ],
    )
    def test_wrong_usage_is_told(self, office: Office, arguments: tuple[str, ...]) -> None:
        """Exit status 2; a password as an argument, for all to see, is wrong usage, too."""
        done = _mailctl(office, "user", "add", "bob", *arguments)

        assert done.exit_code == 2
        assert "Error: " in done.stderr
        assert _verifier(office, "bob@test.com") is None

    def test_an_endless_pipe_is_not_read_to_its_end(self, office: Office) -> None:
        """``mailctl ... < /dev/zero`` ends."""
        done = _mailctl(office, "user", "add", "bob", "--password-stdin", stdin="x" * 100_000)

        assert (done.exit_code, done.stderr) == (
            1,
            "mailctl: the password is too long: 1024 octets at most\n",
        )


class TestUserPasswd:
    """``mailctl user passwd``."""

    def test_a_password_is_replaced(self, office: Office) -> None:
        """From a pipe here."""
        done = _mailctl(office, "user", "passwd", "admin", "--password-stdin", stdin="brand new\n")

        assert done.stdout == "Changed the password of admin@test.com.\n"
        assert _verifier(office, "admin@test.com") == "plain:brand new"

    def test_a_mistyped_password_changes_nothing(self, office: Office) -> None:
        """Asked again until both are the same; here the input ends before."""
        done = _mailctl(
            office, "user", "passwd", "admin", stdin="first one\nother one\n", terminal=True
        )

        assert done.exit_code == 1
        assert _verifier(office, "admin@test.com") == "plain:admin's own"


class TestUserList:
    """``mailctl user list``."""

    def test_a_pipe_gets_plain_columns(self, office: Office) -> None:
        """Every column is there and whole; what is empty is a dash."""
        long = f"{'x' * 60}@test.com"
        _add(office, long, display_name="Ada Lovelace, Countess", quota_octets=3 << 29)

        done = _mailctl(office, "user", "list")

        title, admin, ada = done.stdout.splitlines()
        assert title.split() == (
            "ADDRESS ROLE STATE OFF USED QUOTA LAST LOGIN MESSAGES KEEPS NAME".split()  # noqa: SIM905
        )
        assert admin.split() == (
            "admin@test.com admin enabled - 0 B - never 0 - -".split()  # noqa: SIM905
        )
        assert ada.startswith(long)
        assert ada.endswith("Ada Lovelace, Countess")
        assert "1.5 GiB" in ada

    def test_a_long_list_is_whole(self, office: Office) -> None:
        """More accounts than fit into one page."""
        for number in range(250):
            _add(office, f"user{number:03}")

        listed = json.loads(_mailctl(office, "user", "list", "--json").stdout)

        assert [one["address"] for one in listed[1:]] == [
            f"user{number:03}@test.com" for number in range(250)
        ]

    def test_an_address_cannot_command_the_terminal(self, office: Office) -> None:
        """RFC 6531 allows octets that terminals obey."""
        _add(office, "a\x9b2jb@test.com")

        done = _mailctl(office, "user", "list")

        assert "\x9b" not in done.output
        assert "a\N{REPLACEMENT CHARACTER}2jb@test.com" in done.output


class TestUserKeep:
    """``mailctl user keep``."""

    @pytest.mark.parametrize(
        ("days", "told", "listed"),
        [
            ("30", "for 30 days", 30),
            ("1", "for 1 day", 1),
            ("always", "for ever", None),
        ],
    )
    def test_it_says_what_holds_now(
        self, office: Office, days: str, told: str, listed: int | None
    ) -> None:
        """And the list for programs has it."""
        _mailctl(office, "user", "keep", "admin", "7")

        done = _mailctl(office, "user", "keep", "admin", days)

        assert done.stdout == f"admin@test.com keeps its mail {told}.\n"
        [admin] = json.loads(_mailctl(office, "user", "list", "--json").stdout)
        assert admin["keep_days"] == listed

    def test_programs_read_it(self, office: Office) -> None:
        """As JSON."""
        done = _mailctl(office, "user", "keep", "admin", "30", "--json")
        assert json.loads(done.stdout) == {"address": "admin@test.com", "keep_days": 30}

    @pytest.mark.parametrize("days", ["never", "1.5", "", "9" * 5000, "\u0663"])
    def test_what_is_no_number_of_days_is_wrong_usage(self, office: Office, days: str) -> None:
        """The daemon is not even asked."""
        done = _mailctl(office, "user", "keep", "admin", days)

        assert done.exit_code == 2
        assert "always" in done.stderr

    def test_a_number_that_nobody_means_is_refused(self, office: Office) -> None:
        """Exit status 1."""
        done = _mailctl(office, "user", "keep", "admin", "0")

        assert done.exit_code == 1
        assert done.stderr == "mailctl: mail cannot be kept for 0 days: 1 to 36500, or always\n"

    def test_a_stranger_keeps_nothing(self, office: Office) -> None:
        """Exit status 1."""
        done = _mailctl(office, "user", "keep", "nobody", "30")

        assert (done.exit_code, done.stderr) == (
            1,
            "mailctl: there is no account nobody@test.com\n",
        )


class TestUserDelete:
    """``mailctl user delete``."""

    def test_it_asks_first(self, office: Office) -> None:
        """No is the answer to Return."""
        done = _mailctl(office, "user", "delete", "admin", stdin="\n", terminal=True)

        assert done.exit_code == 1
        assert "Delete admin and all its mail? This cannot be undone." in done.stderr
        assert _verifier(office, "admin@test.com") is not None

    def test_yes_deletes(self, office: Office) -> None:
        """The account and its mail."""
        _add(office, "bob")

        done = _mailctl(office, "user", "delete", "bob", stdin="y\n", terminal=True)

        assert done.stdout == "Deleted the account bob@test.com and its mail.\n"
        assert _verifier(office, "bob@test.com") is None

    def test_without_a_terminal_it_needs_a_yes_before(self, office: Office) -> None:
        """A script that deletes says so."""
        _add(office, "bob")

        refused = _mailctl(office, "user", "delete", "bob")
        done = _mailctl(office, "user", "delete", "bob", "--yes", "--json")

        assert refused.exit_code == 2
        assert "--yes" in refused.stderr
        assert json.loads(done.stdout) == {"address": "bob@test.com", "deleted": True}

    def test_a_refusal_is_one_line(self, office: Office) -> None:
        """Exit status 1."""
        done = _mailctl(office, "user", "delete", "admin", "--yes")

        assert done.exit_code == 1
        assert done.stderr == (
            "mailctl: admin@test.com is the last administrator; make another one first\n"
        )


class TestServices:
    """``mailctl status`` and ``mailctl service``."""

    def test_the_status_is_readable(self, office: Office) -> None:
        """Who, since when, with what, and every listener."""
        office.clock.advance(3 * 3600 + 20 * 60)

        lines = _mailctl(office, "status").stdout.splitlines()

        assert lines[0] == (f"mailsvc 1.2.3 on mail.test.com, process {os.getpid()}, up 3 h 20 min")
        assert lines[1].startswith("database: SQLite 3.")
        assert lines[1].endswith(", 1 domain, 1 account, 0 writes waiting")
        assert lines[4].split() == ["mx", "smtp", "127.0.0.1", "2525", "none", "running", "0"]

    def test_the_status_for_programs(self, office: Office) -> None:
        """Numbers are numbers."""
        seen = json.loads(_mailctl(office, "status", "--json").stdout)

        assert seen["uptime_seconds"] == 0
        assert seen["database"]["accounts"] == 1
        assert seen["listeners"][2]["port"] == 2110

    def test_a_lost_database_is_seen(self, office: Office) -> None:
        """In its line."""
        office.database.broken = StorageFailed()

        done = _mailctl(office, "status")

        assert done.stdout.splitlines()[1] == (
            "database: Our storage is not available; please try again later; 0 writes waiting"
        )

    def test_a_service_is_stopped_and_started(self, office: Office) -> None:
        """The text says how to get it back."""
        stopped = _mailctl(office, "service", "stop", "smtp")
        state = _mailctl(office, "status").stdout
        started = _mailctl(office, "service", "start", "smtp", "--json")

        assert stopped.stdout == "smtp is stopped, until: mailctl service start smtp\n"
        assert state.count("stopped") == 2
        told = json.loads(started.stdout)
        assert (told["service"], told["running"]) == ("smtp", True)
        assert [one["name"] for one in told["listeners"]] == ["mx", "submission"]
        assert office.switchboard.running("smtp")

    def test_what_is_no_service_is_told(self, office: Office) -> None:
        """The choice is shown."""
        done = _mailctl(office, "service", "stop", "imap")

        assert done.exit_code == 1
        assert "there are smtp, pop3, and the listeners mx, submission, pop3" in done.stderr


class TestErrors:
    """Whatever happens, the user sees a line and no traceback."""

    @pytest.mark.parametrize(
        ("error", "status", "text"),
        [
            (NotReachable("mailsvc is not running"), 3, "mailctl: mailsvc is not running\n"),
            (ControlError("no answer"), 1, "mailctl: no answer\n"),
            (
                ZeroDivisionError("division by zero"),
                1,
                (
                    "mailctl: this is a fault of mailctl, please report it: "
                    "ZeroDivisionError: division by zero\n"
                ),
            ),
        ],
    )
    def test_each_kind_has_its_exit_status(self, error: Exception, status: int, text: str) -> None:
        """Scripts tell them apart."""

        def talk(_place: object, _conversation: object) -> Any:
            raise error

        done = CliRunner().invoke(program, ("--socket", "x", "status"), obj=Doors(talk=talk))

        assert (done.exit_code, done.stderr) == (status, text)

    def test_ctrl_c_ends_it_quietly(self) -> None:
        """While it waits for the daemon."""

        def talk(_place: object, _conversation: object) -> Any:
            raise KeyboardInterrupt

        done = CliRunner().invoke(program, ("--socket", "x", "status"), obj=Doors(talk=talk))

        assert (done.exit_code, done.stderr.strip()) == (1, "Aborted!")

    def test_the_socket_is_found_through_the_configuration(self, tmp_path: Path) -> None:
        """``-c``, or MAILSVC_CONFIG."""
        config = tmp_path / "config.yaml"
        config.write_text("control: {socket: here.sock}\n")
        asked: list[object] = []

        def talk(path: object, _conversation: object) -> Any:
            asked.append(path)
            raise NotReachable("nobody")

        CliRunner().invoke(program, ("-c", str(config), "status"), obj=Doors(talk=talk))
        CliRunner().invoke(
            program, ("status",), obj=Doors(talk=talk), env={"MAILSVC_CONFIG": str(config)}
        )

        assert asked == [tmp_path / "here.sock"] * 2

    def test_every_command_has_help_with_an_example(self) -> None:
        """Nobody needs to guess."""
        for name in _leaves(program):
            done = CliRunner().invoke(program, (*name, "-h"))

            assert done.exit_code == 0
            assert " ".join(name) in done.stdout.split("Example")[1]


def _leaves(group: click.Group, *names: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _leaves(command, *names, name)
        else:
            yield (*names, name)


class TestCheckConfig:
    """``mailctl check-config``."""

    def test_what_was_found_is_shown(self, tmp_path: Path) -> None:
        """Without the password of the database."""
        config = tmp_path / "config.yaml"
        config.write_text("database: {url: 'postgresql+psycopg://me:geheim@db/mail'}\n")

        done = _offline("-c", str(config), "check-config")

        assert done.exit_code == 0
        assert done.stdout.startswith(f"{config}: no mistake found\n")
        assert "postgresql+psycopg://me:***@db/mail" in done.stdout
        assert "geheim" not in done.output

    def test_every_mistake_is_a_line(self, tmp_path: Path) -> None:
        """All at once, exit status 1."""
        config = tmp_path / "config.yaml"
        config.write_text("hostnam: x\npop3: {idle_timeout: soon}\n")

        done = _offline("-c", str(config), "check-config")
        told = _offline("-c", str(config), "check-config", "--json")

        lines = done.stderr.splitlines()
        assert done.exit_code == told.exit_code == 1
        assert len(lines) == 2
        assert all(line.startswith(f"mailctl: {config}: ") for line in lines)
        assert json.loads(told.stdout) == {
            "ok": False,
            "mistakes": [line.removeprefix("mailctl: ") for line in lines],
        }

    def test_a_database_that_we_do_not_know_is_a_mistake(self, tmp_path: Path) -> None:
        """It is read here, too."""
        config = tmp_path / "config.yaml"
        config.write_text("database: {url: 'oracle://db/mail'}\n")

        done = _offline("-c", str(config), "check-config")

        assert done.exit_code == 1
        assert "use sqlite, postgresql+psycopg or mysql+pymysql" in done.stderr

    def test_the_configuration_of_this_project_has_no_mistake(self) -> None:
        """It is what everybody starts with."""
        config = Path(__file__).parents[2] / "config.yaml"

        found = json.loads(_offline("-c", str(config), "check-config", "--json").stdout)["found"]

        assert {one["name"]: one["tls"] for one in found["listeners"]} == {
            "mx": "starttls",
            "submission": "starttls",
            "submissions": "implicit",
            "pop3": "starttls",
            "pop3s": "implicit",
        }


class TestDatabaseUpgrade:
    """``mailctl database upgrade``."""

    def test_a_database_is_upgraded(self, office: Office, tmp_path: Path) -> None:
        """Or was up to date already."""
        config = _config_of(office, tmp_path)

        done = _offline("-c", str(config), "database", "upgrade", "--json")

        assert done.exit_code == 0
        assert (
            json.loads(done.stdout)["revision"]
            == finish(office.administration.health.status()).revision
        )

    def test_a_database_in_use_is_left_alone(self, office: Office, tmp_path: Path) -> None:
        """The daemon has it; the text says which process that is."""
        config = _config_of(office, tmp_path)
        with (tmp_path / "mailsvc.db.lock").open("w") as lock:
            lock.write("4711\n")
            lock.flush()
            fcntl.flock(lock, fcntl.LOCK_EX)

            done = _offline("-c", str(config), "database", "upgrade")

        assert done.exit_code == 1
        assert "another mailsvc (process 4711) uses this database" in done.stderr

    def test_a_missing_database_is_not_made(self, tmp_path: Path) -> None:
        """The daemon makes it, with its first accounts."""
        config = tmp_path / "config.yaml"
        config.write_text("state: nowhere\n")

        done = _offline("-c", str(config), "database", "upgrade")

        assert done.exit_code == 1
        assert "there is no database yet" in done.stderr
        assert not (tmp_path / "nowhere").exists()


def _config_of(office: Office, folder: Path) -> Path:
    config = folder / "config.yaml"
    config.write_text(f"database: {{url: 'sqlite:///{office.engines.write.url.database}'}}\n")
    return config


class TestOutput:
    """Numbers and tables for people."""

    @pytest.mark.parametrize(
        ("octets", "text"),
        [(None, ""), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 60, "1024.0 PiB")],
    )
    def test_sizes_have_a_unit(self, octets: int | None, text: str) -> None:
        """The largest one that fits."""
        assert size(octets) == text

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(0, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (90061, "1 d 1 h")],
    )
    def test_durations_have_two_units(self, seconds: float, text: str) -> None:
        """More is noise."""
        assert duration(seconds) == text

    @pytest.mark.parametrize("width", ["40", "200"])
    def test_a_terminal_gets_a_table_that_cuts_nothing_off(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: str
    ) -> None:
        """Names with brackets are no markup, and long ones are folded."""
        monkeypatch.setenv("COLUMNS", width)
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        row = ("[b]" + "z" * 60, "smtp", "::1", "25", "running", "3")

        show_table(_COLUMNS, [row])

        shown = capsys.readouterr().out
        assert shown.count("z") == 60
        assert "[b]" in shown

    @pytest.mark.parametrize(("width", "lines"), [("30", 2), ("40", 5)])
    def test_what_people_copy_is_not_folded(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        width: str,
        lines: int,
    ) -> None:
        """Where the terminal is too narrow for a table, lines run on instead."""
        monkeypatch.setenv("COLUMNS", width)
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)

        show_table(
            (Column("Message", whole=True), Column("Text")), [("0123456789abcdef", "z" * 16)]
        )

        shown = capsys.readouterr().out
        assert "0123456789abcdef" in shown
        assert "z" * 16 in shown
        assert len(shown.splitlines()) == lines
