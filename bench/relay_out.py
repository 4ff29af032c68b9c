"""
Measure how fast mailsvc passes mail on to another server, side by side with Postfix.

`python bench/relay_out.py` starts private servers on this machine and smtp-sink, which
throws all mail away; each server takes the same mail in turn and passes it on, one
recipient a message. "delivered/s" counts until the last one has left. It must run as
root, for Postfix; bench/install_peers.sh installs the peers.
"""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.daemon import stop_when_terminated
from bench.errors import Stuck
from bench.figures import Results
from bench.mailsvc_server import Mailsvc
from bench.messages import DOMAIN
from bench.postfix import Postfix
from bench.private_folder import private_folder
from bench.server import TakesMail
from bench.sink import Sink
from bench.smtp_in import Bench, Scenario

_FAR = "far.example"
_PATIENCE = 300
"""Seconds that the queue may take."""
SCENARIOS = {
    "ten": Scenario("10 in, 4 KiB", 5000, 10),
    "fifty": Scenario("50 in, 4 KiB", 5000, 50),
    "64k": Scenario("10 in, 64 KiB", 1000, 10, octets=64 * 1024),
}


class MailsvcRelay(Mailsvc):
    """Passes everything on: the catch-all of its domain is on the sink."""

    def __init__(self, folder: Path, sink: int) -> None:
        super().__init__(folder)
        self._sink = sink

    def start(self) -> None:
        """Start, and lead all mail away."""
        super().start()
        catch_all = ("domain", "set", DOMAIN, "--catch-all", f"box@{_FAR}")
        program = Path(sys.executable).with_name("mailctl")
        command: list[str | Path] = [program, "-c", self._config, *catch_all]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def settle(self, ended: float) -> float:
        """Wait until the queue is empty."""
        while self._waiting():
            if time.monotonic() > ended + _PATIENCE:
                raise Stuck(f"mailsvc has mail in its queue; see {self.folder}/state/log")
            time.sleep(0.05)  # a look must be cheap beside the work it waits for
        return time.monotonic()

    def _waiting(self) -> bool:
        file = self.folder / "state" / "mailsvc.db"
        with closing(sqlite3.connect(file, timeout=30)) as base:
            return base.execute("SELECT 1 FROM queue LIMIT 1").fetchone() is not None

    def tokens(self) -> list[list[bytes]]:
        """Keep nothing: the sink has thrown all away."""
        raise NotImplementedError  # the bench asks for none

    def _read_passwords(self, output: Path) -> bool:
        # There are no users: every address is the catch-all's.
        return output.exists()

    def _configure(self) -> None:
        super()._configure()
        config = json.loads(self._config.read_text())
        config["first_run"]["users"] = []
        way = {"domains": [_FAR], "host": "127.0.0.1", "port": self._sink, "tls": "none"}
        config["outbound"] = {"routes": {"sink": way}}
        self._config.write_text(json.dumps(config, indent=1))


class PostfixRelay(Postfix):
    """Passes everything on, with its defaults."""

    def __init__(self, folder: Path, sink: int) -> None:
        super().__init__(folder)
        self._sink = sink

    def tokens(self) -> list[list[bytes]]:
        """Keep nothing: the sink has thrown all away."""
        raise NotImplementedError  # the bench asks for none

    def _configure(self) -> None:
        super()._configure()
        main = self.folder / "etc" / "main.cf"
        lines = [
            one
            for one in main.read_text().splitlines()
            if not one.startswith(("virtual_mailbox_domains", "virtual_transport"))
        ]
        lines += [
            f"relay_domains = {DOMAIN}",
            f"relay_transport = smtp:[127.0.0.1]:{self._sink}",
            "smtpd_relay_restrictions = permit_auth_destination, reject",
        ]
        main.write_text("\n".join(lines) + "\n")


@click.command(help=__doc__)
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)))
@click.option("--runs", default=3, show_default=True, help="Of each scenario and server.")
@click.option("--quick", is_flag=True, help="One run of a tenth of the messages.")
@click.option("--without-peers", is_flag=True, help="Measure mailsvc alone.")
@click.option("--folder", default=Path("/var/tmp"), type=Path, show_default=True)  # noqa: S108 (a real disk)
@click.option("--keep", is_flag=True, help="Leave the servers' files there, logs included.")
def main(
    *, names: Sequence[str], runs: int, quick: bool, without_peers: bool, folder: Path, keep: bool
) -> None:
    """Measure what the options choose."""
    stop_when_terminated()
    results = Results(Mailsvc.name, delivered=True)
    kinds: list[Callable[[Path, int], TakesMail]] = [MailsvcRelay]
    kinds += [] if without_peers else [PostfixRelay]
    with private_folder(folder, keep=keep) as private, ExitStack() as running:
        sink = running.enter_context(Sink(private / "sink"))
        servers = [
            running.enter_context(kind(private / str(number), sink.smtp_port))
            for number, kind in enumerate(kinds)
        ]
        bench = Bench(servers, results)
        for name in names or SCENARIOS:
            scenario = SCENARIOS[name]
            if quick:
                scenario = replace(scenario, messages=scenario.messages // 10)
            bench.run(scenario, 1 if quick else runs)
    results.show("Mail passed on: loopback, to smtp-sink, medians", "accepted/s")


if __name__ == "__main__":
    main()
