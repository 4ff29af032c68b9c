"""Run a private mailsvc: own state folder, own ports, passwords of its first start."""

import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from bench import load_smtp, maildrop, messages
from bench.daemon import Daemon, free_port
from bench.server import GivesMail, TakesMail

_WORDS = ("-n", "--pidfile=", "mailsvc", "-c")
_ROOT = Path(__file__).resolve().parents[1]
_SHOWN = re.compile(r"^ +u(\d+)@test\.com +(\S+)$", re.MULTILINE)


class Mailsvc(TakesMail, GivesMail):
    """The mail service of this checkout, with its defaults."""

    name = "mailsvc"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.smtp_port = free_port()
        self.pop3_port = free_port()
        self._config = folder / "config.yaml"
        self._passwords: dict[int, str] = {}

    def start(self) -> None:
        """Start; the first time with a new database and its users."""
        first = not self.folder.exists()
        if first:
            self._configure()
        command = [_program("twistd"), *_WORDS, str(self._config)]
        self.daemon = Daemon(command, self.folder, _environment())
        self.daemon.await_greeting(self.smtp_port)
        self.daemon.await_greeting(self.pop3_port)
        if first:
            output = self.daemon.output
            self.daemon.wait_for(lambda: self._read_passwords(output))

    def settle(self, ended: float) -> float:
        """Tell when all mail is in its mailbox: with its 250, at *ended* for the last."""
        return ended

    def password(self, user: int) -> str:
        """Tell the password of a user, which the first start made and showed."""
        return self._passwords[user]

    def tokens(self) -> list[list[bytes]]:
        """Name the messages in every mailbox, each collected and compared whole."""
        users = range(messages.USERS)
        logins = [(messages.address(user), self.password(user)) for user in users]
        return maildrop.tokens(self.pop3_port, logins)

    def fill(self, user: int, prefix: str, count: int, octets: int) -> None:
        """Put so many messages into a user's mailbox, by SMTP."""
        job = load_smtp.Job(
            port=self.smtp_port,
            prefix=prefix,
            messages=count,
            octets=octets,
            connections=10,
            first_user=user,
            users=1,
        )
        load_smtp.run(job)

    def chill(self, users: Iterable[int]) -> None:  # noqa: ARG002 (Dovecot's knowledge lies in files)
        """Forget what is known of mailboxes, so that they are opened cold."""
        self.stop()
        self.start()

    def _configure(self) -> None:
        self.folder.mkdir()
        users = [messages.address(user).partition("@")[0] for user in range(messages.USERS)]
        config = {
            "state": "state",
            "hostname": "mailsvc.bench.example",
            "listeners": {
                "mx": {"kind": "smtp", "port": self.smtp_port},
                "pop3": {"kind": "pop3", "port": self.pop3_port},
            },
            "first_run": {"domain": messages.DOMAIN, "administrator": "admin", "users": users},
        }
        self._config.write_text(json.dumps(config, indent=1))  # JSON is YAML.

    def _read_passwords(self, output: Path) -> bool:
        shown = _SHOWN.findall(output.read_text())
        self._passwords = {int(user): password for user, password in shown}
        return len(self._passwords) == messages.USERS


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _environment() -> dict[str, str]:
    # This checkout is measured, also where another one is installed.
    return {**os.environ, "PYTHONPATH": str(_ROOT)}
