"""
Measure how fast mailsvc gives mail out, side by side with Dovecot.

`python bench/pop3_out.py` starts private servers on this machine, gives each the
same maildrops, and collects them in turn. Every message that comes is compared
with what was put there, and the octets with what STAT told; a difference ends
the benchmark. It must run as root, for Dovecot; bench/install_peers.sh installs it.
"""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import loads
from bench.daemon import stop_when_terminated
from bench.dovecot import Dovecot, FastDovecot, ReusedDovecot
from bench.figures import Figures, Results
from bench.load_pop3 import Job
from bench.mailsvc_server import Mailsvc
from bench.private_folder import private_folder
from bench.server import GivesMail

PEERS: dict[str, Callable[[Path], GivesMail]] = {
    "dovecot": Dovecot,
    "dovecot-fast": FastDovecot,
    "dovecot-reused": ReusedDovecot,
}
KIB = 1024


@dataclass(frozen=True)
class Maildrops:
    """Some users, and the mail that waits for each."""

    users: tuple[int, ...]
    messages: int
    octets: int

    def fill(self, server: GivesMail) -> None:
        """Put the mail there."""
        for user in self.users:
            server.fill(user, f"drop{user}", self.messages, self.octets)


TEN = Maildrops(tuple(range(10)), 10, 4 * KIB)
SMALL = Maildrops((10, 11, 12, 13), 1000, 4 * KIB)
LARGE = Maildrops((14, 15, 16, 17), 300, 64 * KIB)
HUGE = Maildrops((18,), 100_000, KIB)


@dataclass(frozen=True)
class Scenario:
    """A way of collecting; kind and times are those of `load_pop3.Job`."""

    title: str
    """Has the number of messages in the place of its braces."""
    kind: str
    drops: Maildrops
    times: int
    clients: int = 1
    cold: bool = False
    one_more: bool = False
    """Whether a new message comes before each opening."""


SCENARIOS = {
    "session": Scenario("sessions of 10 x 4 KiB, 10 clients", "session", TEN, 400, 10),
    "login": Scenario("login and STAT, 10 clients", "login", TEN, 600, 10),
    "retr": Scenario("RETR 4 KiB, 1 client", "retr", SMALL, 4),
    "group": Scenario("RETR 4 KiB, 1 client, pipelined", "group", SMALL, 20),
    "retr4": Scenario("RETR 4 KiB, 4 clients", "retr", SMALL, 3, 4),
    "group4": Scenario("RETR 4 KiB, 4 clients, pipelined", "group", SMALL, 8, 4),
    "64k": Scenario("RETR 64 KiB, 1 client", "retr", LARGE, 6),
    "64k-group": Scenario("RETR 64 KiB, 1 client, pipelined", "group", LARGE, 6),
    "64k4": Scenario("RETR 64 KiB, 4 clients", "retr", LARGE, 2, 4),
    "64k-group4": Scenario("RETR 64 KiB, 4 clients, pipelined", "group", LARGE, 2, 4),
    "open": Scenario("open {:,} messages, warm", "open", HUGE, 5),
    "open-new": Scenario("open {:,} messages, one of them new", "open", HUGE, 1, one_more=True),
    "open-cold": Scenario("open {:,} messages, cold", "open", HUGE, 1, cold=True),
}


class Bench:
    """The servers and their maildrops."""

    def __init__(self, servers: Sequence[GivesMail], results: Results) -> None:
        self._servers = servers
        self._results = results
        self._arrived: Counter[tuple[GivesMail, int]] = Counter()

    def fill(self, drops: Maildrops) -> None:
        """Put the same mail into the maildrops of every server."""
        for server in self._servers:
            drops.fill(server)

    def run(self, scenario: Scenario, runs: int) -> None:
        """Collect so many times from each server, the servers taking turns."""
        # The first logins check passwords, make indexes and start processes.
        times = scenario.clients if scenario.kind in ("session", "login") else 1
        warm_up = replace(scenario, times=times, cold=False, one_more=False)
        for server in self._servers:
            self._measure(warm_up, server)
        for _ in range(runs):
            for server in self._servers:
                figures = self._measure(scenario, server)
                title = scenario.title.format(scenario.drops.messages)
                self._results.add(title, server.name, figures)

    def _measure(self, scenario: Scenario, server: GivesMail) -> Figures:
        drops = scenario.drops
        users = drops.users[: scenario.clients]
        if scenario.one_more:
            self._arrive(server, users[0], drops.octets)
        if scenario.cold:
            server.chill(users)
        job = Job(
            port=server.pop3_port,
            kind=scenario.kind,
            users=list(users),
            passwords=[server.password(user) for user in users],
            messages=drops.messages + self._arrived[server, users[0]],
            times=scenario.times,
        )
        cpu = server.cpu_seconds()
        outcome = loads.pop3(job)
        cpu = server.cpu_seconds() - cpu
        rate = outcome.operations / outcome.seconds
        return Figures(
            rate=rate,
            delivered=rate,
            median=outcome.median,
            p99=outcome.p99,
            server_cpu=cpu / outcome.operations,
            load_cpu=outcome.cpu_seconds / outcome.operations,
            load_share=outcome.cpu_seconds / outcome.seconds,
        )

    def _arrive(self, server: GivesMail, user: int, octets: int) -> None:
        self._arrived[server, user] += 1
        server.fill(user, f"new{self._arrived[server, user]}", 1, octets)


@click.command(help=__doc__)
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)))
@click.option("--peer", "peers", multiple=True, type=click.Choice([*PEERS, "none"]))
@click.option("--runs", default=3, show_default=True, help="Of each scenario and server.")
@click.option("--quick", is_flag=True, help="One run, and a tenth of the mail in large maildrops.")
@click.option("--without-mailsvc", is_flag=True, help="Measure the peers alone.")
@click.option("--folder", default=Path("/var/tmp"), type=Path, show_default=True)  # noqa: S108 (a real disk)
@click.option("--keep", is_flag=True, help="Leave the servers' files there, logs included.")
def main(
    *,
    names: Sequence[str],
    peers: Sequence[str],
    runs: int,
    quick: bool,
    without_mailsvc: bool,
    folder: Path,
    keep: bool,
) -> None:
    """Measure what the options choose."""
    stop_when_terminated()
    runs = 1 if quick else runs
    results = Results(Mailsvc.name, delivered=False)
    kinds: list[Callable[[Path], GivesMail]] = [] if without_mailsvc else [Mailsvc]
    kinds += [PEERS[peer] for peer in peers or ["dovecot", "dovecot-fast"] if peer != "none"]
    chosen = [_sized(SCENARIOS[name], quick=quick) for name in names or SCENARIOS]
    with private_folder(folder, keep=keep) as private, ExitStack() as running:
        servers = [running.enter_context(kind(private / str(n))) for n, kind in enumerate(kinds)]
        bench = Bench(servers, results)
        for drops in dict.fromkeys(scenario.drops for scenario in chosen):
            bench.fill(drops)
        for scenario in chosen:
            bench.run(scenario, runs)
    results.show(f"Mail out: loopback, median of {runs}", "per second")


def _sized(scenario: Scenario, *, quick: bool) -> Scenario:
    if not quick or scenario.drops.messages < 100:
        return scenario
    drops = scenario.drops
    return replace(scenario, drops=replace(drops, messages=drops.messages // 10))


if __name__ == "__main__":
    main()
