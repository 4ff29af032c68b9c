"""
Measure how fast mailsvc takes mail in, side by side with Postfix.

`python bench/smtp_in.py` starts private servers on this machine, sends each the
same mail in turn, waits until all of it is in mailboxes, then looks into every
mailbox for every accepted message. Exit code 1: one was lost, doubled or damaged.
It must run as root, for Postfix; bench/install_peers.sh installs the peers.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import click
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import loads, messages
from bench.daemon import stop_when_terminated
from bench.errors import BenchError
from bench.figures import Figures, Results
from bench.ledger import Ledger
from bench.load_smtp import Job
from bench.mailsvc_server import Mailsvc
from bench.postfix import Postfix, PostfixDovecot
from bench.private_folder import private_folder
from bench.server import TakesMail
from bench.sink import Sink

PEERS: dict[str, Callable[[Path], TakesMail]] = {
    "postfix": Postfix,
    "postfix-dovecot": PostfixDovecot,
    "sink": Sink,
}
KIB = 1024


@dataclass(frozen=True)
class Scenario:
    """A way of sending."""

    title: str
    messages: int
    connections: int
    kept: bool = True
    octets: int = 4 * KIB
    recipients: int = 1
    tls: bool = False

    def job(self, port: int, prefix: str) -> Job:
        """Make the load's job of it."""
        return Job(
            port=port,
            prefix=prefix,
            messages=self.messages,
            octets=self.octets,
            connections=self.connections,
            kept=self.kept,
            recipients=self.recipients,
            tls=self.tls,
        )


SCENARIOS = {
    "one": Scenario("1 connection, kept", 1500, 1),
    "new": Scenario("10, new each", 2500, 10, kept=False),
    "ten": Scenario("10, kept", 5000, 10),
    "fifty": Scenario("50, kept", 5000, 50),
    "64k": Scenario("64 KiB, 10 kept", 1000, 10, octets=64 * KIB),
    "5m": Scenario("5 MB, 4 kept", 24, 4, octets=5_000_000),
    "tls": Scenario("10, kept, TLS", 5000, 10, tls=True),
    "tls-new": Scenario("10, new each, TLS", 1000, 10, kept=False, tls=True),
    "rcpts": Scenario("1 to 50 recipients", 80, 1, recipients=50),
}


class Bench:
    """The servers, and what they have accepted so far."""

    def __init__(self, servers: Sequence[TakesMail], results: Results) -> None:
        self._servers = {server: Ledger() for server in servers}
        self._results = results
        self._loads = 0

    def run(self, scenario: Scenario, runs: int) -> None:
        """Send so many times to each server, the servers taking turns."""
        # The first messages meet empty caches and processes yet to be started.
        warm_up = replace(scenario, messages=2 * scenario.connections)
        for server in self._servers:
            self._measure(warm_up, server)
        for _ in range(runs):
            for server in self._servers:
                figures = self._measure(scenario, server)
                self._results.add(scenario.title, server.name, figures)

    def audit(self, console: Console) -> bool:
        """Look for every accepted message; True when each is there, whole and once."""
        verdicts = [self._audit_one(server, console) for server in self._servers]
        return all(verdicts)

    def _audit_one(self, server: TakesMail, console: Console) -> bool:
        try:
            mailboxes = server.tokens()
        except BenchError as error:
            console.print(f"{server.name}: {error}", style="red")
            return False
        if mailboxes is None:
            return True
        ledger = self._servers[server]
        right, mistakes = ledger.audit(mailboxes)
        console.print(
            f"{server.name}: {right:,} messages are in their mailboxes, whole and once; "
            f"{len(mistakes)} mistakes; {ledger.refused} were refused"
        )
        for mistake in mistakes[:10]:
            console.print(mistake, style="red")
        return not mistakes

    def _measure(self, scenario: Scenario, server: TakesMail) -> Figures:
        self._loads += 1
        job = scenario.job(server.smtp_port, f"load{self._loads}")
        os.sync()  # Nobody pays for what another has written.
        cpu = server.cpu_seconds()
        outcome = loads.smtp(job)
        settled = server.settle(outcome.ended)
        cpu = server.cpu_seconds() - cpu
        self._servers[server].add(job, outcome.refused)
        accepted = job.messages - len(outcome.refused)
        taking = outcome.ended - outcome.began
        return Figures(
            rate=accepted / taking,
            delivered=accepted * job.recipients / (settled - outcome.began),
            median=outcome.median,
            p99=outcome.p99,
            server_cpu=cpu / job.messages,
            load_cpu=outcome.cpu_seconds / job.messages,
            load_share=outcome.cpu_seconds / taking,
        )


@click.command(help=__doc__)
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)))
@click.option("--peer", "peers", multiple=True, type=click.Choice([*PEERS, "none"]))
@click.option("--messages", "count", type=int, help="Messages in each run, instead of our choice.")
@click.option("--runs", default=3, show_default=True, help="Of each scenario and server.")
@click.option("--quick", is_flag=True, help="One run of a tenth of the messages.")
@click.option("--without-mailsvc", is_flag=True, help="Measure the peers alone.")
@click.option("--folder", default=Path("/var/tmp"), type=Path, show_default=True)  # noqa: S108 (a real disk)
@click.option("--keep", is_flag=True, help="Leave the servers' files there, logs included.")
def main(
    *,
    names: Sequence[str],
    peers: Sequence[str],
    count: int | None,
    runs: int,
    quick: bool,
    without_mailsvc: bool,
    folder: Path,
    keep: bool,
) -> None:
    """Measure what the options choose."""
    stop_when_terminated()
    runs = 1 if quick else runs
    results = Results(Mailsvc.name, delivered=True)
    kinds: list[Callable[[Path], TakesMail]] = [] if without_mailsvc else [Mailsvc]
    kinds += [PEERS[peer] for peer in peers or ["postfix"] if peer != "none"]
    with private_folder(folder, keep=keep) as private, ExitStack() as running:
        servers = [running.enter_context(kind(private / str(n))) for n, kind in enumerate(kinds)]
        bench = Bench(servers, results)
        for name in names or SCENARIOS:
            bench.run(_sized(SCENARIOS[name], count, quick=quick), runs)
        good = bench.audit(results.console)
    results.show(f"Mail in: {messages.USERS} users, loopback, median of {runs}", "accepted/s")
    sys.exit(0 if good else 1)


def _sized(scenario: Scenario, count: int | None, *, quick: bool) -> Scenario:
    tenth = max(scenario.messages // 10, 2 * scenario.connections)
    return replace(scenario, messages=count or (tenth if quick else scenario.messages))


if __name__ == "__main__":
    main()
