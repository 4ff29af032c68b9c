"""Start, weigh and stop the daemons that a benchmark measures."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.errors import NotReady, Stuck

_TICKS = os.sysconf("SC_CLK_TCK")


class Daemon:
    """
    A foreground process, leader of its own session, and all its children.

    Args:
        command: What to run.
        folder: Where it runs, and where `output` keeps what it prints.
        environment: None: ours.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        folder: Path,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.output = folder / f"{Path(command[0]).name}.out"
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def await_greeting(self, port: int) -> None:
        """
        Wait until the first octet of a greeting comes from a port.

        Raises:
            Stuck: None came in time, or the daemon is gone.
        """
        self.wait_for(lambda: _greets(port))

    def wait_for(self, ready: Callable[[], bool], seconds: float = 60) -> None:
        """
        Ask again and again until the answer is yes.

        Raises:
            Stuck: It was not in time, or the daemon is gone.
        """
        end = time.monotonic() + seconds
        while not ready():
            if self._process.poll() is not None or time.monotonic() > end:
                said = self.output.read_text()[-2000:]
                raise Stuck(f"{self.output.stem} is stuck (--keep leaves its logs):\n{said}")
            time.sleep(0.05)

    def cpu_seconds(self) -> float:
        """Sum up what the process and all its descendants, past ones included, have used."""
        parents, used = {}, {}
        for process, parent, seconds in _processes():
            parents[process] = parent
            used[process] = seconds
        family = {self._process.pid}
        while more := {p for p, parent in parents.items() if parent in family} - family:
            family |= more
        return sum(used.get(process, 0.0) for process in family)

    def stop(self, seconds: float = 60) -> None:
        """
        Ask the daemon to end, and wait until it has.

        Raises:
            Stuck: It had to be killed.
        """
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired as late:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            raise Stuck(f"{late.cmd[0]} had to be killed") from late


def stop_when_terminated() -> None:
    """Let SIGTERM end this process as Ctrl-C does: its daemons are stopped first."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def require(program: str) -> None:
    """
    Make sure that a peer can be run.

    Raises:
        NotReady: We are not root, or the program is not there.
    """
    if os.geteuid() != 0:
        raise NotReady(f"{program} must be started by root")
    if shutil.which(program) is None:
        raise NotReady(f"{program} is not installed: run bench/install_peers.sh")


def free_port() -> int:
    """Find a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as probe:
            return bool(probe.recv(1))
    except OSError:
        return False


def _processes() -> Iterator[tuple[int, int, float]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue  # It ended meanwhile; its parent has its time now.
        # The name before the last bracket may hold blanks; proc(5) counts these from 3.
        fields = stat.rpartition(")")[2].split()
        ticks = sum(int(field) for field in fields[11:15])
        yield int(folder.name), int(fields[1]), ticks / _TICKS
