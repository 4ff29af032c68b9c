"""``mailctl broadcast``, from the command line to the mailboxes."""

import json
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from mailsvc.cli.main import program
from mailsvc.cli.place import Doors
from mailsvc.store.tables import entry, message
from tests.support.control_line import talk_in_memory
from tests.support.control_office import Office, open_office

NEWS = ("--subject", "News", "--text", "-")


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Give an administration with two users."""
    with open_office(tmp_path) as office:
        for name in ("alice", "bob@second.test"):
            if "@" in name:
                _run(office, "domain", "add", name.partition("@")[2])
            _run(office, "user", "add", name, "--generate")
        yield office


def _run(office: Office, *arguments: str, given: str | bytes = "", asked: bool = False) -> Result:
    talk = talk_in_memory(office.administration, office.clock)
    doors = Doors(talk=talk, interactive=lambda: asked)
    whole = ("--socket", "/in/memory", *arguments)
    return CliRunner().invoke(program, whole, obj=doors, input=given)


def _send(office: Office, *options: str, given: str | bytes = "Hello\n") -> Result:
    return _run(office, "broadcast", "send", *options, given=given)


def _bodies(office: Office) -> list[bytes]:
    with office.engines.read.begin() as conn:
        return list(conn.scalars(select(message.c.body).order_by(message.c.id)))


def _entries(office: Office) -> int:
    with office.engines.read.begin() as conn:
        return len(conn.execute(select(entry.c.uid)).all())


def test_a_text_goes_to_everybody(office: Office) -> None:
    """It is a whole message, and says from whom."""
    done = _send(
        office, "--all", "--subject", "Ferien 假期", "--text", "-", "--yes", given="你好\n"
    )

    assert done.exit_code == 0, done.output
    assert "has ended: 3 of 3 mailboxes have it." in done.stdout
    [body] = _bodies(office)
    read = message_from_bytes(body, policy=default)
    assert read["Subject"] == "Ferien 假期"
    assert read["From"] == "postmaster@test.com"
    assert read["To"] == "undisclosed-recipients:;"
    assert read["Date"] is not None
    assert read["Message-ID"] is not None
    assert read.get_content().splitlines() == ["你好"]
    assert body.startswith(b"Return-Path: <postmaster@test.com>\r\nReceived: by mail.test.com")
    assert _entries(office) == 3


@pytest.mark.parametrize(
    ("whom", "count"),
    [
        (("--domain", "second.test"), 1),
        (("--domain", "test.com"), 2),
        (("--group", "both"), 2),
    ],
)
def test_some_get_it(office: Office, whom: tuple[str, ...], count: int) -> None:
    """A domain, or the members of a group."""
    made = _run(office, "group", "add", "both", "alice", "bob@second.test")
    assert made.exit_code == 0, made.output

    sent = json.loads(_send(office, *whom, *NEWS, "--yes", "--json").stdout)

    assert (sent["mailboxes"], sent["delivered"], _entries(office)) == (count, count, count)
    assert sent["ended"] is not None
    [listed] = json.loads(_run(office, "broadcast", "list", "--json").stdout)
    assert listed == sent
    shown = _run(office, "broadcast", "show", str(sent["number"]), "--json")
    assert json.loads(shown.stdout) == sent
    assert str(sent["number"]) in _run(office, "broadcast", "list").stdout


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_message_file_goes_as_it_is(office: Office, tmp_path: Path, end: str) -> None:
    """But for its line ends, and a line of an mbox in front."""
    lines = ["From x Mon", "From: a@b.org", "Subject: one", "Date: then", "Message-ID: <1@b>"]
    file = tmp_path / "letter.eml"
    file.write_bytes(end.join([*lines, "", "text", "more"]).encode())

    done = _send(office, "--all", "--eml", str(file), "--from", "alice", "--yes")

    assert done.exit_code == 0, done.output
    [body] = _bodies(office)
    assert body.endswith(
        b"\r\nFrom: a@b.org\r\nSubject: one\r\nDate: then\r\nMessage-ID: <1@b>\r\n\r\n"
        b"text\r\nmore\r\n"
    )
    assert body.startswith(b"Return-Path: <alice@test.com>\r\n")
    assert body.count(b"Date:") == 1


def test_it_is_shown_before_it_is_sent(office: Office, tmp_path: Path) -> None:
    """No is an answer."""
    text = "".join(f"line {number}\n" for number in range(20))
    file = tmp_path / "letter.txt"
    file.write_text(text)
    whole = ("broadcast", "send", "--all", "--subject", "News", "--text", str(file))

    no = _run(office, *whole, given="n\n", asked=True)
    assert _entries(office) == 0
    yes = _run(office, *whole, given="y\n", asked=True)

    assert no.exit_code == 1
    for told in ("Subject: News", "line 11", "8 more lines", "to 3 mailboxes?"):
        assert told in no.stderr
    assert "line 12" not in no.stderr
    assert (yes.exit_code, _entries(office)) == (0, 3)


@pytest.mark.parametrize(
    ("options", "given", "status", "told"),
    [
        ((*NEWS,), "x", 2, "say to whom"),
        (("--all", "--domain", "test.com", *NEWS), "x", 2, "say to whom"),
        (("--all",), "x", 2, "give --text with --subject, or --eml"),
        (("--all", "--text", "-"), "x", 2, "give --text with --subject, or --eml"),
        (("--all", *NEWS, "--eml", "-"), "x", 2, "give --text with --subject, or --eml"),
        (("--all", *NEWS), b"\xff", 1, "not UTF-8"),
        (("--all", "--eml", "-"), "", 1, "the message is empty"),
        (("--all", "--eml", "-"), "just text\n", 1, "no header"),
        (("--all", "--eml", "-"), "Subject: x\n\na\0b", 1, "NUL"),
        (("--all", "--eml", "-"), "Subject: x\n\n" + "y" * 100_000, 1, "larger than 100000"),
        (("--all", "--eml", "nowhere.eml"), "", 1, "nowhere.eml cannot be read"),
        (("--domain", "example.org", *NEWS), "x", 1, "not a domain of ours"),
        (("--group", "nobody", *NEWS), "x", 1, "nobody"),
        (("--all", "--subject", "a\nb", "--text", "-"), "x", 1, "one line"),
    ],
)
def test_mistakes_send_nothing(
    office: Office, options: tuple[str, ...], given: str | bytes, status: int, told: str
) -> None:
    """They say what to do."""
    refused = _send(office, *options, "--yes", given=given)

    assert (refused.exit_code, told in refused.stderr) == (status, True), refused.output
    assert (_entries(office), _bodies(office)) == (0, [])


def test_nobody_to_ask_is_a_refusal(office: Office) -> None:
    """A script says --yes."""
    refused = _send(office, "--all", *NEWS)

    assert (refused.exit_code, "say --yes" in refused.stderr) == (2, True)
    assert _entries(office) == 0


def test_one_that_has_ended_cannot_be_stopped(office: Office) -> None:
    """Nor one that never was."""
    sent = json.loads(_send(office, "--all", *NEWS, "--yes", "--json").stdout)

    for number in (str(sent["number"]), "17"):
        refused = _run(office, "broadcast", "stop", number)
        assert (refused.exit_code, "not under way" in refused.stderr) == (1, True)
    missing = _run(office, "broadcast", "show", "17")
    assert (missing.exit_code, "no broadcast 17" in missing.stderr) == (1, True)
