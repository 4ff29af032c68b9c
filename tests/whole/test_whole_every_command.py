"""
Every command of mailctl, as a program, against the real daemon through the real socket.

With good input, with bad input, and without permission. A command that is not in the tables is
a failure, so whoever adds one sees it here.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import click
from click.testing import CliRunner

from mailsvc.cli.help import every_command
from mailsvc.cli.main import program
from mailsvc.model.story import EVENTS
from tests.support.certificates import make_certificate
from tests.support.daemon import Daemon, Ended, MakeDaemon, free_ports

LLAMAS = "seven green llamas"
LOCAL = {"check-config", "database upgrade", "help", "manual", "completion"}
"""Commands that ask no daemon."""
PUBLIC = {"register", "passwd"}
"""Commands for everybody."""


class Step(NamedTuple):
    """
    One command with its input.

    Args:
        command: Its words.
        rest: Its arguments.
        given: Its standard input.
    """

    command: str
    rest: str = ""
    given: str = ""


GOOD = (
    Step("status"),
    Step("check-config"),
    Step("help", "filters"),
    Step("manual", "{folder}/man"),
    Step("completion", "bash"),
    Step("domain add", "example.net"),
    Step("domain list"),
    Step("domain show", "example.net"),
    Step("domain set", "example.net --quota 1GiB"),
    Step("domain disable", "example.net"),
    Step("domain enable", "example.net"),
    Step("user add", "carol@example.net --password-stdin", LLAMAS),
    Step("user passwd", "carol@example.net --generate"),
    Step("user keep", "carol@example.net 30"),
    Step("user list", "--search carol"),
    Step("user show", "carol@example.net"),
    Step("user set", "carol@example.net --name Carol --language zh"),
    Step("user rename", "carol@example.net dora@example.net"),
    Step("user disable", "dora@example.net --for 1h"),
    Step("user enable", "dora@example.net"),
    Step("user switch", "dora@example.net pop3 off"),
    Step("user grant", "dora@example.net admin"),
    Step("user revoke", "dora@example.net admin"),
    Step("user export", "alice {folder}/alice.mbox"),
    Step("user import", "{folder}/users.csv --generate --passwords-out {folder}/out.csv"),
    Step("queue list"),
    Step("queue show", "{queued}"),
    Step("queue hold", "{queued}"),
    Step("queue release", "--domain [127.0.0.9]"),
    Step("queue retry", "--all"),
    Step("queue bounce", "{queued}"),
    Step("queue delete", "{queued}"),
    Step("dkim add", "test.com --algorithm ed25519 --selector one"),
    Step("dkim list"),
    Step("dkim disable", "test.com one"),
    Step("dkim enable", "test.com one"),
    Step("dns", "test.com"),
    Step("dkim remove", "test.com one"),
    Step("alias add", "info alice"),
    Step("alias list"),
    Step("alias show", "info"),
    Step("alias disable", "info"),
    Step("alias enable", "info"),
    Step("alias remove", "info"),
    Step("group add", "team alice"),
    Step("group member add", "team bob"),
    Step("group member remove", "team bob"),
    Step("group list"),
    Step("group show", "team"),
    Step("group disable", "team"),
    Step("group enable", "team"),
    Step("broadcast send", "--group team --subject Hello --text {folder}/text --yes"),
    Step("broadcast list"),
    Step("broadcast show", "{broadcast}"),
    Step("group remove", "team"),
    Step("forward set", "bob alice --keep"),
    Step("forward list"),
    Step("forward show", "bob"),
    Step("forward disable", "bob"),
    Step("forward enable", "bob"),
    Step("forward remove", "bob"),
    Step("service list"),
    Step("service stop", "pop3 --for 1h"),
    Step("service start", "pop3"),
    Step("session list"),
    Step("session kill", "--all"),
    Step("filter add", "deny 192.0.2.0/24 --for 1h"),
    Step("filter list"),
    Step("filter test", "--ip 192.0.2.7"),
    Step("filter remove", "{filter}"),
    Step("settings list", "smtp"),
    Step("settings set", "registration.mode approval"),
    Step("settings get", "registration.mode"),
    Step("register", "emil --password-stdin", LLAMAS),
    Step("register", "fred --password-stdin", LLAMAS),
    Step("user pending"),
    Step("user approve", "emil"),
    Step("user reject", "fred"),
    Step("passwd", "emil --password-stdin", f"{LLAMAS}\nother {LLAMAS}\n"),
    Step("invitation add", "--uses 2"),
    Step("invitation list"),
    Step("invitation remove", "{invitation}"),
    Step("settings reset", "registration"),
    Step("user delete", "emil --yes"),
    Step("domain remove", "example.net --force --backup {folder}/example.zip --yes"),
    Step("log show", "control"),
    Step("log search", "control --text user"),
    Step("log clear", "pop3 --yes"),
    Step("trail search"),
    Step("trace", "{message}"),
    Step("database upgrade"),
)
"""In this order: each finds what those before it have left."""
ENDLESS = {"log follow", "broadcast stop"}
"""Tried elsewhere: the one has no end, the other needs a broadcast that has not ended."""
BAD = (
    Step("domain add", "a..b"),
    Step("domain list", "more"),
    Step("domain show", "nowhere.example"),
    Step("domain enable", "nowhere.example"),
    Step("domain disable", "nowhere.example"),
    Step("domain set", "test.com --quota much"),
    Step("domain remove", "test.com --yes"),
    Step("user add", "alice --password-stdin", LLAMAS),
    Step("user add", "x@nowhere.example --generate"),
    Step("user passwd", "nobody --generate"),
    Step("user keep", "alice soon"),
    Step("user list", "--domain"),
    Step("user show", "nobody"),
    Step("user set", "alice"),
    Step("user rename", "alice bob"),
    Step("user disable", "admin"),
    Step("user enable", "nobody"),
    Step("user switch", "alice imap off"),
    Step("user grant", "alice king"),
    Step("user revoke", "admin admin"),
    Step("user delete", "admin --yes"),
    Step("user export", "nobody {folder}/nobody.mbox"),
    Step("user import", "{folder}/nothing.csv"),
    Step("user pending", "more"),
    Step("user approve", "alice"),
    Step("user reject", "alice"),
    Step("queue list", "17"),
    Step("queue show", "0123456789abcdef"),
    Step("queue hold", ""),
    Step("queue release", "nothing"),
    Step("queue retry", "--domain -"),
    Step("queue bounce", "--sender"),
    Step("queue delete", ""),
    Step("dkim add", "nothing.example --algorithm ed25519"),
    Step("dkim list", "-"),
    Step("dkim disable", "test.com nothing"),
    Step("dkim enable", "test.com nothing"),
    Step("dkim remove", "test.com nothing"),
    Step("dns", "nothing.example"),
    Step("alias add", "alice bob"),
    Step("alias list", "more"),
    Step("alias show", "nobody"),
    Step("alias enable", "nobody"),
    Step("alias disable", "nobody"),
    Step("alias remove", "nobody"),
    Step("group add", "alice"),
    Step("group member add", "nobody alice"),
    Step("group member remove", "nobody alice"),
    Step("group list", "more"),
    Step("group show", "nobody"),
    Step("group enable", "nobody"),
    Step("group disable", "nobody"),
    Step("group remove", "nobody"),
    Step("forward set", "alice alice"),
    Step("forward list", "more"),
    Step("forward show", "alice"),
    Step("forward enable", "alice"),
    Step("forward disable", "alice"),
    Step("forward remove", "alice"),
    Step("broadcast send", "--all --subject x --text {folder}/nothing --yes"),
    Step("broadcast list", "more"),
    Step("broadcast show", "1"),
    Step("broadcast stop", "1"),
    Step("service list", "more"),
    Step("service start", "imap"),
    Step("service stop", "smtp --for never"),
    Step("session list", "more"),
    Step("session kill", "17"),
    Step("filter add", "deny 192.0.2.1/24"),
    Step("filter list", "more"),
    Step("filter test", ""),
    Step("filter remove", "17"),
    Step("settings list", "nothing"),
    Step("settings get", "smtp.nothing"),
    Step("settings set", "smtp.tarpit soon"),
    Step("settings reset", "smtp"),
    Step("register", "hugo --password-stdin", LLAMAS),
    Step("passwd", "alice --password-stdin", f"wrong\n{LLAMAS}\n"),
    Step("invitation add", "--uses 0"),
    Step("invitation list", "more"),
    Step("invitation remove", "17"),
    Step("log show", "imap"),
    Step("log search", "control --since then"),
    Step("log follow", "imap"),
    Step("log clear", "imap --yes"),
    Step("trail search", "--limit none"),
    Step("trail search", "--event loggin"),
    Step("trace", "17"),
    Step("status", "more"),
    Step("check-config", "more"),
    Step("database upgrade", "more"),
    Step("help", "nothing"),
    Step("manual", "{folder}/text"),
    Step("completion", "csh"),
)


def _leaves() -> set[str]:
    found = every_command((), program)
    return {" ".join(path) for path, one in found if not isinstance(one, click.Group)}


def _run(daemon: Daemon, step: Step, known: dict[str, str]) -> Ended:
    rest = [part.format_map(known) for part in step.rest.split()]
    return daemon.mailctl(*step.command.split(), *rest, given=step.given)


def _prepare(folder: Path) -> None:
    (folder / "text").write_text("Hello, all of you.\n")
    (folder / "users.csv").write_text("address,name\numa,Uma\nvera,Vera\n")


def _learn(daemon: Daemon, known: dict[str, str], command: str) -> None:
    """Find the numbers that later steps need."""
    if command == "broadcast list":
        [sent] = daemon.mailctl("broadcast", "list", "--json").parsed
        known["broadcast"] = str(sent["number"])
    if command == "queue list":
        [waiting] = daemon.mailctl("queue", "list", "--json").parsed
        known["queued"] = waiting["message"]
    for what in ("filter", "invitation"):
        if command == f"{what} list":
            [found] = daemon.mailctl(what, "list", "--json").parsed
            known[what] = str(found["number"])
    if command == "trail search":
        events = daemon.mailctl("trail", "search", "--json").parsed
        assert {one["event"] for one in events} <= set(EVENTS)
        known["message"] = next(str(one["message"]) for one in events if one.get("message"))


def test_the_tables_have_every_command() -> None:
    """Good input and bad input for each."""
    assert {step.command for step in GOOD} | ENDLESS == _leaves()
    assert {step.command for step in BAD} == _leaves()


def test_every_command_does_its_work(daemon: Daemon, tmp_path: Path) -> None:
    """In the order of a day: what one has made, the next one uses."""
    _prepare(tmp_path)
    known = {"folder": str(tmp_path)}
    client = daemon.smtp()
    with closing(daemon.submission("alice")) as sender:
        # Nobody listens there: it waits.
        sender.sendmail("alice@test.com", ["bob@[127.0.0.9]"], "Subject: x\r\n\r\nx\r\n")
    for step in GOOD:
        if step.command == "database upgrade":
            daemon.stop()
        done = _run(daemon, step, known)
        assert done.status == 0, (step, done.output, done.errors)
        _learn(daemon, known, step.command)
    client.close()


def _tried(daemon: Daemon, steps: Iterable[Step], known: dict[str, str]) -> list[Ended]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda step: _run(daemon, step, known), steps))


def test_every_command_says_what_is_wrong(daemon: Daemon, tmp_path: Path) -> None:
    """In words, with a status of 1 or 2, and nothing is changed."""
    _prepare(tmp_path)
    asked = (("user", "list"), ("alias", "list"), ("filter", "list"), ("settings", "list"))
    before = [daemon.mailctl(*words, "--json").output for words in asked]

    for step, done in zip(BAD, _tried(daemon, BAD, {"folder": str(tmp_path)}), strict=True):
        assert done.status in {1, 2}, (step, done.output, done.errors)
        assert done.errors.startswith(("mailctl: ", "Usage: mailctl", "Error: ")), step
        assert "Traceback" not in done.errors
        assert "fault of" not in done.errors

    assert [daemon.mailctl(*words, "--json").output for words in asked] == before


def test_no_command_is_done_for_strangers(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    """From another machine, without a login: register and passwd alone are answered."""
    _prepare(tmp_path)
    [port] = free_ports(1)
    files = make_certificate(tmp_path, "localhost")
    named = {"certificate": str(files.certificate), "key": str(files.key)}
    control = {"remote": {"port": port}}
    daemon = make_daemon(settings={"control": control, "tls": {"certificates": [named]}}).start()
    known = {"folder": str(tmp_path), "broadcast": "1", "filter": "1"}
    known |= {"invitation": "1", "message": "1", "queued": "0123456789abcdef"}
    where = ("--host", f"localhost:{port}", "--ca", str(files.certificate))
    for step in (*GOOD, Step("log follow", "control"), Step("broadcast stop", "1")):
        if step.command in LOCAL | PUBLIC:
            continue
        rest = [part.format_map(known) for part in step.rest.split()]
        words = (*where, *step.command.split(), *rest)
        # In this process, for the commands are many: the socket and TLS are real.
        done = CliRunner().invoke(program, words, input=step.given)
        assert done.exit_code == 1, (step, done.output)
        assert "log in first" in done.stderr, (step, done.stderr)
    assert len(daemon.mailctl("user", "list", "--json").parsed) == 3


def test_two_administrators_work_at_once(daemon: Daemon) -> None:
    """Nothing is lost and nothing is done twice."""
    same = [Step("user", "add carol --generate")] * 6
    values = [Step("settings", f"set limits.client_connections {60 + n}") for n in range(6)]
    others = [Step("settings", f"set smtp.most_errors {30 + n}") for n in range(6)]
    switches = [Step("service", f"{what} pop3") for what in ("stop", "start") * 3]
    mixed = [step for four in zip(same, values, others, switches, strict=True) for step in four]

    done = dict(zip(range(len(mixed)), _tried(daemon, mixed, {}), strict=True))

    made = [one for index, one in done.items() if mixed[index].command == "user"]
    assert sorted(one.status for one in made) == [0, 1, 1, 1, 1, 1]
    rest = [one for index, one in done.items() if mixed[index].command != "user"]
    assert {one.status for one in rest} == {0}, [one.errors for one in rest]
    changed = daemon.mailctl("settings", "list", "--changed", "--json").parsed
    assert {one["name"] for one in changed} == {"limits.client_connections", "smtp.most_errors"}
    listed = {one["name"]: one for one in daemon.mailctl("service", "list", "--json").parsed}
    running = listed["pop3"]["running"]
    daemon.stop()
    daemon.start(expect=("mx", "submission") + (("pop3",) if running else ()))
    again = {one["name"]: one for one in daemon.mailctl("service", "list", "--json").parsed}
    assert again["pop3"]["running"] == running
    kept = daemon.mailctl("settings", "list", "--changed", "--json").parsed
    assert [(one["name"], one["value"]) for one in kept] == [
        (one["name"], one["value"]) for one in changed
    ]
