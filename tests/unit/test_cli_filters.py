"""``mailctl filter``, from the command line to the database."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailsvc.cli.main import program
from mailsvc.cli.place import Doors
from tests.support.control_line import talk_in_memory
from tests.support.control_office import Office, open_office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Give an administration."""
    with open_office(tmp_path) as opened:
        yield opened


def _filter(office: Office, *arguments: str) -> Result:
    doors = Doors(talk=talk_in_memory(office.administration, office.clock))
    whole = ("--socket", "/in/memory", "filter", *arguments)
    return CliRunner().invoke(program, whole, obj=doors)


def _json(office: Office, *arguments: str) -> Any:
    done = _filter(office, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("subject", "kind", "stored"),
    [
        ("Alice@Test.COM", "address", "alice@test.com"),
        ("Example.ORG", "domain", "example.org"),
        ("*.example.org", "domain", "*.example.org"),
        ("例子.测试", "domain", "xn--fsqu00a.xn--0zwm56d"),
        ("192.0.2.7", "cidr", "192.0.2.7/32"),
        ("192.0.2.0/24", "cidr", "192.0.2.0/24"),
        ("2001:DB8::/32", "cidr", "2001:db8::/32"),
    ],
)
def test_a_subject_is_read(office: Office, subject: str, kind: str, stored: str) -> None:
    """It is stored in one form, listed and removed."""
    made = _json(office, "add", "deny", subject, "--note", "why not", "--for", "2h")

    assert (made["kind"], made["subject"], made["note"]) == (kind, stored, "why not")
    assert made["expires"] is not None
    assert _json(office, "list") == [made]
    assert stored in _filter(office, "list").stdout
    assert _filter(office, "add", "deny", subject).exit_code == 1
    assert "Removed" in _filter(office, "remove", str(made["number"])).stdout
    assert _json(office, "list") == []


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("add", "deny", "192.0.2.1/24"), 1, "no network"),
        (("add", "deny", "192.0.2"), 1, "no network"),
        (("add", "deny", "::ffff:192.0.2.7"), 1, "write 192.0.2.7"),
        (("add", "deny", "a b"), 1, "not a domain"),
        (("add", "deny", "@"), 1, "not a mail address"),
        (("add", "forbid", "example.org"), 2, "forbid"),
        (("add", "deny", "example.org", "--service", "imap"), 2, "imap"),
        (("add", "deny", "example.org", "--note", "a\nb"), 1, "one line"),
        (("remove", "17"), 1, "no rule 17"),
        (("test",), 2, "give an address"),
        (("test", "alice", "here"), 1, "no IP address"),
    ],
)
def test_mistakes_are_told(
    office: Office, arguments: tuple[str, ...], status: int, told: str
) -> None:
    """And nothing is stored."""
    refused = _filter(office, *arguments)

    assert (refused.exit_code, told in refused.stderr) == (status, True), refused.output
    assert _json(office, "list") == []


def test_a_test_tells_which_rule_decides(office: Office) -> None:
    """For each thing that a client may want."""
    net = _json(office, "add", "deny", "192.0.2.0/24", "--service", "pop3")["number"]
    name = _json(office, "add", "deny", "test.com", "--direction", "receive")["number"]
    alice = _json(office, "add", "allow", "alice@test.com", "--service", "smtp")["number"]

    tests = _json(office, "test", "alice", "192.0.2.7")

    assert [(one["allowed"], one["rule"]) for one in tests] == [
        (True, None),
        (False, net),
        (True, alice),
        (True, alice),
        (False, name),
    ]
    shown = _filter(office, "test", "alice", "192.0.2.7").stdout
    assert f"NO   192.0.2.7 may connect and fetch mail  (rule {net}, 192.0.2.0/24)" in shown
    assert len(_json(office, "test", "--ip", "2001:db8::1")) == 2
