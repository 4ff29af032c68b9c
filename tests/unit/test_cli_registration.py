"""``mailctl register``, ``passwd`` and ``invitation``, from the command line to the database."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.admin.registration import digest_of
from mailsvc.auth.strength import weakness
from mailsvc.cli.main import program
from mailsvc.cli.place import Doors
from mailsvc.store.schema import transact
from mailsvc.store.settings import read_settings
from tests.support.control_line import talk_in_memory
from tests.support.control_office import Office, finish, open_office

GOOD = "seven green llamas"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Give an administration."""
    with open_office(tmp_path) as opened:
        yield opened


def _run(office: Office, *arguments: str, given: str | None = None) -> Result:
    doors = Doors(
        talk=talk_in_memory(office.administration, office.clock), interactive=lambda: True
    )
    whole = ("--socket", "/in/memory", *arguments)
    return CliRunner().invoke(program, whole, obj=doors, input=given)


def _json(office: Office, *arguments: str) -> Any:
    done = _run(office, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def _register(office: Office, *arguments: str, password: str = GOOD) -> Result:
    return _run(office, "register", *arguments, "--password-stdin", given=password)


def _mode(office: Office, mode: str, **more: str) -> None:
    for name, value in {"mode": mode, **more}.items():
        done = _run(office, "settings", "set", f"registration.{name}", value)
        assert done.exit_code == 0, done.output


def _account(office: Office, address: str) -> Any:
    return _json(office, "user", "show", address)


def test_nobody_registers_where_it_is_closed(office: Office) -> None:
    """As it is by default; a code does not help."""
    done = _register(office, "dora", "--code", "abc")

    assert done.exit_code == 1
    assert "ask an administrator" in done.stderr


def test_everybody_registers_where_it_is_open(office: Office) -> None:
    """With a name and a language; the password is asked for twice."""
    _mode(office, "open")
    done = _run(
        office, "register", "dora", "--name", "Dora", "--language", "zh", given=f"{GOOD}\n{GOOD}\n"
    )

    assert done.stdout.endswith("Made the account dora@test.com. You can log in with it.\n")
    made = _account(office, "dora")
    assert (made["name"], made["language"], made["enabled"]) == ("Dora", "zh", True)
    assert made["role"] == "user"


def test_an_account_waits_for_approval(office: Office) -> None:
    """It is listed, approved or rejected; others are not touched by that."""
    _mode(office, "approval")
    for name in ("dora", "emil"):
        assert "as soon as an administrator has approved it" in _register(office, name).stdout
    assert not _account(office, "dora")["enabled"]
    assert "2 accounts wait for approval" in _run(office, "status").stdout
    assert _json(office, "status")["database"]["pending_accounts"] == 2
    assert [one["address"] for one in _json(office, "user", "pending")] == [
        "dora@test.com",
        "emil@test.com",
    ]
    assert "emil@test.com" in _run(office, "user", "pending").stdout

    assert _run(office, "user", "approve", "dora").stdout == "dora@test.com can log in now.\n"
    assert "Removed" in _run(office, "user", "reject", "emil").stdout

    assert _account(office, "dora")["enabled"]
    assert _run(office, "user", "show", "emil").exit_code == 1
    for command in ("approve", "reject"):
        again = _run(office, "user", command, "dora")
        assert again.exit_code == 1
        assert "does not wait" in again.stderr
    assert _run(office, "user", "pending").stdout == "Nobody waits.\n"
    assert "wait" not in _run(office, "status").stdout.replace("waiting", "")


def test_only_so_many_wait(office: Office) -> None:
    """A stranger could fill the list otherwise."""
    _mode(office, "approval", most_waiting="1")
    assert _register(office, "dora").exit_code == 0
    assert "too many wait" in _register(office, "emil").stderr


def test_an_invitation_lets_in(office: Office) -> None:
    """So often, in small or capital letters, with or without hyphens."""
    _mode(office, "invitation")
    made = _json(office, "invitation", "add", "--uses", "2", "--note", "class 7b", "--for", "7d")
    code = made["code"]
    assert "needs the code" in _register(office, "dora").stderr
    assert "not good" in _register(office, "dora", "--code", "abc").stderr
    assert _register(office, "dora", "--code", code.upper()).exit_code == 0
    [listed] = _json(office, "invitation", "list")
    assert (listed["uses_left"], listed["note"], listed["hint"]) == (1, "class 7b", code[:5])
    assert "class 7b" in _run(office, "invitation", "list").stdout
    assert _register(office, "emil", "--code", code.replace("-", " ")).exit_code == 0
    assert "not good" in _register(office, "fred", "--code", code).stderr
    assert _json(office, "invitation", "list") == []
    assert _account(office, "dora")["enabled"]


def test_an_invitation_is_not_spent_on_a_failure(office: Office) -> None:
    """A name that is taken, or a weak password."""
    _mode(office, "invitation")
    code = _json(office, "invitation", "add")["code"]
    assert _run(office, "alias", "add", "info", "admin").exit_code == 0
    assert _register(office, "info", "--code", code).exit_code == 1
    assert _register(office, "dora", "--code", code, password="sunshine").exit_code == 1
    assert _register(office, "dora", "--code", code).exit_code == 0


def test_an_invitation_is_removed(office: Office) -> None:
    """It is worthless then; one that has ended is not listed."""
    _mode(office, "approval")
    made = _json(office, "invitation", "add")
    assert "Code: " in _run(office, "invitation", "add", "--for", "1s").stdout
    assert _run(office, "invitation", "remove", str(made["number"])).exit_code == 0
    assert "not good" in _register(office, "dora", "--code", made["code"]).stderr
    assert _run(office, "invitation", "remove", "17").exit_code == 1
    assert _run(office, "invitation", "add", "--uses", "0").exit_code == 1
    assert _run(office, "invitation", "add", "--domain", "example.org").exit_code == 1


def test_an_invitation_is_for_a_domain(office: Office) -> None:
    """Though the settings name another one."""
    assert _run(office, "domain", "add", "school.example").exit_code == 0
    _mode(office, "approval")
    code = _json(office, "invitation", "add", "--domain", "School.Example")["code"]
    assert "in test.com only" in _register(office, "dora@school.example").stderr
    assert "in school.example only" in _register(office, "d@test.com", "--code", code).stderr
    assert "dora@school.example" in _register(office, "dora", "--code", code).stdout


@pytest.mark.parametrize(
    ("arguments", "password", "told"),
    [
        (("Postmaster",), GOOD, "is reserved"),
        (("dora+x",), GOOD, "a name has no '+'"),
        (("dora@example.org",), GOOD, "in test.com only"),
        (("d ora",), GOOD, "not a mail address"),
        (("admin2@test.com", "--language", "english!"), GOOD, "no language"),
        (("dora",), "short", "8 characters at least"),
        (("dora",), "password1", "too easy to guess"),
        (("gertrude",), "gertrude1", "too easy to guess"),
    ],
)
def test_mistakes_are_told(
    office: Office, arguments: tuple[str, ...], password: str, told: str
) -> None:
    """And nothing is made."""
    _mode(office, "open")
    done = _register(office, *arguments, password=password)

    assert done.exit_code == 1
    assert told in done.stderr
    assert len(_json(office, "user", "list")) == 1


def test_a_name_that_is_taken_is_told(office: Office) -> None:
    """By an account, or by an alias."""
    _mode(office, "open")
    assert _run(office, "alias", "add", "info", "admin").exit_code == 0
    assert _register(office, "info").exit_code == 1
    assert _register(office, "dora").exit_code == 0
    assert "exists already" in _register(office, "dora").stderr


def test_attempts_are_limited(office: Office) -> None:
    """Of one client, whatever becomes of them; codes could be guessed otherwise."""
    _mode(office, "invitation", per_client="3/1h")
    told = [_register(office, "dora", "--code", str(number)).stderr for number in range(5)]

    assert ["not good" in one for one in told] == [True, True, True, False, False]
    assert "try again later" in told[-1]
    office.clock.advance(1200)
    assert "not good" in _register(office, "dora", "--code", "x").stderr
    _mode(office, "invitation", in_all="2/1h", per_client="null")
    told = [_register(office, "dora", "--code", str(number)).stderr for number in range(3)]
    assert "try again later" in told[-1]


def test_users_change_their_own_password(office: Office) -> None:
    """With the old one; it is asked for on a terminal, or read."""
    done = _run(office, "passwd", "admin", given=f"admin's own\n{GOOD}\n{GOOD}\n")
    assert done.stdout.endswith("Changed the password of admin@test.com.\n")
    old = _run(office, "passwd", "admin", "--password-stdin", given="admin's own\nother llamas 7")
    assert (old.exit_code, old.stderr) == (1, "mailctl: user name or password is wrong\n")
    new = _run(office, "passwd", "admin", "--password-stdin", given=f"{GOOD}\r\nother llamas 7\n")
    assert new.exit_code == 0
    rows = transact(office.engines, _trail)
    assert "own passwd" in rows


def _trail(conn: Any) -> str:
    """Give the trail as text."""
    return str(conn.exec_driver_sql("SELECT detail FROM trail").fetchall())


@pytest.mark.parametrize(
    ("given", "status", "told"),
    [
        ("admin's own\nadmin's own\n", 1, "is the old one"),
        ("admin's own\nshort\n", 1, "too short"),
        ("admin's own\nadmin@test.com\n", 1, "too easy"),
        ("admin's own\n", 2, "two lines"),
        ("a\nb\nc\nd\n", 2, "two lines"),
    ],
)
def test_a_new_password_must_be_one(office: Office, given: str, status: int, told: str) -> None:
    """The old one stays."""
    done = _run(office, "passwd", "admin", "--password-stdin", given=given)

    assert done.exit_code == status
    assert told in done.stderr


def test_whoever_guesses_must_wait(office: Office) -> None:
    """As at any login: five failures a minute in this test."""
    told = [
        _run(office, "passwd", "admin", "--password-stdin", given=f"guess {n}\n{GOOD}").stderr
        for n in range(7)
    ]

    assert "wrong" in told[4]
    assert "wait some minutes" in told[6]


def test_a_disabled_user_changes_nothing(office: Office) -> None:
    """He hears what strangers hear."""
    assert _run(office, "user", "add", "bob", "--password-stdin", given=GOOD).exit_code == 0
    assert _run(office, "user", "disable", "bob").exit_code == 0
    done = _run(office, "passwd", "bob", "--password-stdin", given=f"{GOOD}\nother llamas 7")
    assert done.stderr == "mailctl: user name or password is wrong\n"


def test_the_shortest_password_is_a_setting(office: Office) -> None:
    """For administrators, too."""
    assert _run(office, "settings", "set", "login.shortest_password", "12").exit_code == 0
    done = _run(office, "user", "add", "bob", "--password-stdin", given="elevenchars")
    assert "12 characters at least" in done.stderr
    rules = finish(office.administration.registration.rules())
    assert (rules.mode, rules.domains, rules.shortest_password) == ("closed", ("test.com",), 12)
    assert "login.secret" not in str(transact(office.engines, read_settings))


@given(st.text(max_size=100))
def test_every_password_is_judged(password: str) -> None:
    """With advice in words, or none."""
    assert weakness(password, 0, []) == ""
    assert isinstance(weakness(password, 4, ["alice@test.com"]), str)


@given(st.text(alphabet="abcxyz789", min_size=1), st.lists(st.sampled_from(" -\t\n")))
def test_a_code_is_read_as_people_type_it(code: str, noise: list[str]) -> None:
    """Case, spaces and hyphens do not matter."""
    assert digest_of("".join([*noise, code.upper(), *noise])) == digest_of(code)
