"""Run Postfix's smtp-sink, which throws all mail away: the ceiling of the load itself."""

from pathlib import Path

from bench.daemon import Daemon, free_port, require
from bench.server import TakesMail


class Sink(TakesMail):
    """A server that does nothing, in C; never mind its deliveries."""

    name = "smtp-sink"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.smtp_port = free_port()

    def start(self) -> None:
        """Start."""
        require("smtp-sink")
        self.folder.mkdir()
        command: list[str | Path] = ["smtp-sink", "-u", "nobody"]
        self.daemon = Daemon([*command, f"127.0.0.1:{self.smtp_port}", "200"], self.folder)
        self.daemon.await_greeting(self.smtp_port)

    def settle(self, ended: float) -> float:
        """Tell when all mail was thrown away."""
        return ended

    def tokens(self) -> None:
        """Keep nothing."""
