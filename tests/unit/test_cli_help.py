"""``mailctl help``, manual pages and completion."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.cli.help import every_command
from mailsvc.cli.main import program
from mailsvc.cli.manual import configuration, topics
from mailsvc.cli.place import Doors
from mailsvc.cli.roff import escape, markdown_page
from mailsvc.errors import NotReachable
from tests.support.control_line import talk_in_memory
from tests.support.control_office import Office, open_office
from tests.support.daemon import installed

COMMANDS = dict(every_command(("mailctl",), program))


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Give an administration."""
    with open_office(tmp_path) as opened:
        yield opened


def _help(*topic: str) -> str:
    done = CliRunner().invoke(program, ("help", *topic))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_topics_are_listed() -> None:
    """Every section of the manual, each once, and the configuration."""
    listed = _help()
    names = [one.name for one in topics()]

    assert len(names) == len(set(names)) > 15
    for name in (*names, "config"):
        assert f"\n{name} " in listed


@pytest.mark.parametrize("name", [one.name for one in topics()])
def test_a_topic_is_explained(name: str) -> None:
    """Links are plain text."""
    text = _help(name)

    assert len(text) > 200
    assert "](" not in text
    assert _help(name.upper())


def test_a_command_is_explained() -> None:
    """As with -h; where there is a topic of that name, too, both are shown."""
    assert _help("user", "add").startswith("Usage: program user add [OPTIONS] ADDRESS")
    both = _help("settings")
    assert "Take back the changes" in both
    assert "**Ports.**" in both
    assert _help("config").strip() == configuration().strip()


@pytest.mark.parametrize("topic", [("nothing",), ("user", "nothing"), ("user", "add", "more")])
def test_what_is_no_topic_is_wrong_usage(topic: tuple[str, ...]) -> None:
    """The text says how to find one."""
    done = CliRunner().invoke(program, ("help", *topic))

    assert done.exit_code == 2
    assert "lists them" in done.stderr


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    """What it does, and an example where it does something."""
    command = COMMANDS[path]

    assert command.help
    assert isinstance(command, click.Group) or "Example" in (command.epilog or ""), path
    assert all(getattr(one, "help", "") for one in command.params if isinstance(one, click.Option))


def test_manual_pages_are_good_troff(tmp_path: Path) -> None:
    """Groff has nothing to say about them, and shows what they are for."""
    groff = installed("groff")
    done = CliRunner().invoke(program, ("manual", str(tmp_path / "man")))
    pages = [*(tmp_path / "man").glob("man*/*")]

    assert f"Wrote {len(pages)} manual pages" in done.stdout
    assert len(pages) == len(COMMANDS) + 2
    for page in pages:
        shown = subprocess.run(
            [groff, "-man", "-Tutf8", "-ww", "-Kutf8", "-P-cbou", page],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert shown.stderr == "", page
        assert "NAME" in shown.stdout
    adding = (tmp_path / "man/man1/mailctl-user-add.1").read_text()
    assert r"\-\-quota\-messages" in adding
    assert "mailctl user add alice" in adding


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    """A file is in the way."""
    (tmp_path / "man").write_text("")
    done = CliRunner().invoke(program, ("manual", str(tmp_path / "man" / "here")))

    assert done.exit_code == 1
    assert "Not a directory" in done.stderr


@given(st.text(max_size=50))
def test_no_text_commands_troff(text: str) -> None:
    """A line that begins with a dot or a quote, and a backslash, are shown."""
    for line in escape(text).split("\n"):
        assert not line.startswith((".", "'"))
    assert escape(text).replace(r"\e", "").replace(r"\-", "").replace(r"\&", "").count("\\") == 0
    page = markdown_page("x", "about", "1", [text])
    assert page.startswith(".TH")


def _completed(office: Office | None, *words: str) -> list[str]:
    def nobody(_place: object, _conversation: object) -> object:
        raise NotReachable("nobody")

    doors = (
        Doors(talk=nobody)  # type: ignore[arg-type]
        if office is None
        else Doors(talk=talk_in_memory(office.administration, office.clock))
    )
    whole = BashComplete(program, {"obj": doors}, "mailctl", "_MAILCTL_COMPLETE")
    *before, last = words
    return [one.value for one in whole.get_completions(before, last)]


def test_a_shell_completes(office: Office) -> None:
    """Commands, options, settings, topics and addresses of the daemon."""
    assert _completed(office, "user", "app") == ["approve"]
    assert "--generate" in _completed(office, "user", "add", "--")
    assert _completed(office, "settings", "set", "smtp.large") == ["smtp.largest_message"]
    assert "pop3.lease" in _completed(office, "settings", "list", "pop3.")
    assert _completed(office, "help", "filt") == ["filter", "filters"]
    assert _completed(office, "user", "show", "ADM") == ["admin@test.com"]
    assert _completed(office, "user", "add", "adm") == []
    assert _completed(office, "--host", "elsewhere", "user", "show", "adm") == []
    assert _completed(None, "user", "show", "adm") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_the_shell_is_printed(shell: str) -> None:
    """It asks mailctl itself."""
    done = CliRunner().invoke(program, ("completion", shell))
    assert "_MAILCTL_COMPLETE" in done.stdout


def test_bash_takes_the_script(tmp_path: Path) -> None:
    """A real shell completes with it."""
    bash = installed("bash")
    script = tmp_path / "completion"
    script.write_text(CliRunner().invoke(program, ("completion", "bash")).stdout)
    ask = (
        f"source {script}; COMP_WORDS=(mailctl settings set smtp.large); COMP_CWORD=3;"
        ' _mailctl_completion mailctl smtp.large set; echo "${COMPREPLY[@]}"'
    )
    folder = str(Path(installed("mailctl")).parent)
    done = subprocess.run(
        [bash, "-c", ask],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
    )
    assert done.stdout.strip() == "smtp.largest_message"
