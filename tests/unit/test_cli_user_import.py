"""``mailctl user import``; the daemon is in memory."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailsvc.cli.main import program
from mailsvc.cli.place import Doors
from mailsvc.cli.roster import read_roster
from mailsvc.errors import CommandError
from mailsvc.model.account import Account, Role
from mailsvc.model.address import parse_address
from tests.support.control_line import talk_in_memory
from tests.support.control_office import Office, finish, open_office

GOOD = "correct horse"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Give an administration with its administrator only."""
    with open_office(tmp_path) as opened:
        yield opened


def _import(office: Office, given: str | bytes, *options: str) -> Result:
    doors = Doors(talk=talk_in_memory(office.administration, office.clock))
    whole = ("--socket", "/in/memory", "user", "import", "-", *options)
    return CliRunner().invoke(program, whole, obj=doors, input=given)


def _results(done: Result) -> dict[str, str]:
    return {one["address"]: one["result"] for one in json.loads(done.stdout)}


def _found(office: Office, address: str) -> Account | None:
    return finish(office.directory.find(parse_address(address, utf8=True)))


def _read(out: Path) -> dict[str, str]:
    title, *rows = csv.reader(out.read_text().splitlines())
    assert title == ["address", "password"]
    return {row[0]: row[1] for row in rows}


def _password(office: Office, address: str) -> str:
    found = _found(office, address)
    assert found is not None
    return found.verifiers[0].hashed


def test_each_column_counts(office: Office) -> None:
    """In any order; what is empty is what a new account has."""
    text = (
        "quota,Email,display_name,password,role,language,quota_messages,enabled\n"
        f"1GiB,alice,Alice 爱丽丝,{GOOD},admin,zh,1000,yes\n"
        f'none,bob@test.com,"Bob, the second",{GOOD},,,none,no\n'
        f",carol,,{GOOD},user,,,\n"
    )

    done = _import(office, text, "--json")

    assert _results(done) == dict.fromkeys(("alice", "bob@test.com", "carol"), "created")
    alice, bob = _found(office, "alice@test.com"), _found(office, "bob@test.com")
    assert alice is not None
    assert bob is not None
    assert (alice.display_name, alice.role) == ("Alice 爱丽丝", Role.ADMIN)
    assert (alice.quota_octets, alice.quota_messages) == (1 << 30, 1000)
    assert (bob.display_name, bob.quota_octets, bob.enabled) == ("Bob, the second", None, False)
    assert _found(office, "carol@test.com") is not None


@pytest.mark.parametrize(
    "text",
    [
        f"\ufeffaddress,password\r\nalice,{GOOD}\r\n",
        f"address;password\nalice;{GOOD}\n",
        f" Address , PASSWORD \n alice , {GOOD} \n\n , \n",
        f"address,password\nalice,{GOOD}",
    ],
)
def test_what_spreadsheets_write_is_read(office: Office, text: str) -> None:
    """Byte order mark, semicolons, spaces, empty lines, no last line end."""
    assert _results(_import(office, text, "--json")) == {"alice": "created"}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("a b,correct horse,,,,,", "not a mail address"),
        (",correct horse,,,,,", "not a mail address"),
        ("bob,short,,,,,", "too short"),
        ("bob,,,,,,", "--generate"),
        ("bob,correct horse,king,,,,", "no role"),
        ("bob,correct horse,,much,,,", "much"),
        ("bob,correct horse,,,many,,", "no number of messages"),
        ("bob,correct horse,,,,english language,", "no language"),
        ("bob,correct horse,,,,,maybe", "neither yes nor no"),
        ("ALICE,correct horse,,,,,", "line 2 has this address"),
        ("bob,correct horse,,,,,,,", "more cells"),
    ],
)
def test_one_wrong_row_and_nothing_is_made(office: Office, row: str, told: str) -> None:
    """The report names it."""
    title = "address,password,role,quota,quota_messages,language,enabled\n"

    done = _import(office, f"{title}alice,{GOOD}\n{row}\n")

    assert done.exit_code == 1
    assert told in done.stdout
    assert "\n   3  " in done.stdout
    assert _found(office, "alice@test.com") is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", "must name the columns"),
        ("alice,bob\n", "must name the columns"),
        ("address,colour\n", "unknown column 'colour'"),
        ("address,address\n", "twice"),
        (b"address\n\xff\n", "not UTF-8"),
        ('address\n"alice\n', "no CSV"),
    ],
)
def test_what_is_no_list_is_refused(office: Office, given: str | bytes, told: str) -> None:
    """In one line."""
    refused = _import(office, given)

    assert (refused.exit_code, told in refused.stderr) == (1, True), refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_passwords_are_made_and_kept(office: Office, tmp_path: Path) -> None:
    """A second run uses them again, and changes nobody."""
    out, text = tmp_path / "passwords.csv", "address\nalice\nbob\n"
    options = ("--generate", "--passwords-out", str(out), "--json")

    first = _import(office, text, *options)

    made = _read(out)
    assert set(made) == {"alice", "bob"}
    assert out.stat().st_mode & 0o777 == 0o600
    assert _results(first) == {"alice": "created", "bob": "created"}
    assert _password(office, "alice@test.com") == f"plain:{made['alice']}"
    again = _import(office, text + "carol\n", *options)
    assert _results(again) == {"alice": "already there", "bob": "already there", "carol": "created"}
    both = _read(out)
    assert both == made | {"carol": both["carol"]}
    assert _password(office, "alice@test.com") == f"plain:{made['alice']}"
    assert again.exit_code == 0


def test_a_run_that_was_cut_off_is_finished(office: Office, tmp_path: Path) -> None:
    """Its passwords stand in the file, its accounts do not exist yet."""
    out = tmp_path / "passwords.csv"
    out.write_text("address,password\nalice,made-before-1\n")
    out.chmod(0o600)

    done = _import(office, "address\nalice\n", "--generate", "--passwords-out", str(out))

    assert done.exit_code == 0, done.output
    assert _password(office, "alice@test.com") == "plain:made-before-1"
    assert out.read_text() == "address,password\nalice,made-before-1\n"


def test_an_account_from_elsewhere_gets_no_password(office: Office, tmp_path: Path) -> None:
    """The file would lie."""
    out = tmp_path / "passwords.csv"

    done = _import(office, "address\nadmin\n", "--generate", "--passwords-out", str(out), "--json")

    assert _results(done) == {"admin": "already there"}
    assert not out.exists()


def test_a_password_file_that_others_read_is_refused(office: Office, tmp_path: Path) -> None:
    """So is one that cannot be written; nobody is made."""
    out = tmp_path / "passwords.csv"
    out.write_text("address,password\n")
    out.chmod(0o644)
    options = ("--generate", "--passwords-out")

    refused = _import(office, "address\nalice\n", *options, str(out))
    nowhere = _import(office, "address\nalice\n", *options, str(tmp_path / "no" / "file"))

    assert (refused.exit_code, "chmod 600" in refused.stderr) == (1, True)
    assert (nowhere.exit_code, "cannot be written" in nowhere.stderr) == (1, True)
    assert _found(office, "alice@test.com") is None


def test_a_dry_run_changes_nothing(office: Office) -> None:
    """And tells of every row what would be."""
    text = f"address,password\nalice,{GOOD}\nadmin,{GOOD}\nbob,short\n"

    done = _import(office, text, "--dry-run", "--json")

    results = _results(done)
    assert (results["alice"], results["admin"]) == ("would be created", "already there")
    assert results["bob"].startswith("refused: the password is too short")
    assert done.exit_code == 1
    assert _found(office, "alice@test.com") is None


def test_what_the_daemon_refuses_is_told_with_its_row(office: Office) -> None:
    """The others are made."""
    text = f"address,password\nalice,{GOOD}\nbob@example.org,{GOOD}\ncarol,{GOOD}\n"

    done = _import(office, text)

    assert done.exit_code == 1
    assert "example.org" in done.stdout
    assert "3 rows: 2 created, 1 refused." in done.stdout
    assert _found(office, "carol@test.com") is not None


def test_making_passwords_needs_a_place_for_them(office: Office) -> None:
    """They would be lost."""
    refused = _import(office, "address\nalice\n", "--generate")

    assert (refused.exit_code, "--passwords-out" in refused.stderr) == (2, True)


def test_a_large_list_is_read() -> None:
    """With the number of each line, also behind a cell of two lines."""
    text = 'address,display_name\na,"x\ny"\n' + "".join(f"user{n},\n" for n in range(1000))

    rows = read_roster(text.encode(), "list")

    assert [row.line for row in rows][-1] == 1003
    assert rows[0].fault
    assert all(row.user is not None for row in rows[1:])
    with pytest.raises(CommandError):
        read_roster(os.urandom(100) + b"\xff", "list")
