"""The real daemon in a folder of its own: start it, talk to it, stop it, kill it."""

import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from poplib import POP3, error_proto
from smtplib import SMTP, SMTPException
from typing import IO, Any, NoReturn, Self

import pytest
import yaml

from tests.support.warm import WarmProcess, run_warm, warm

LISTENERS = ("mx", "submission", "pop3")
PATIENCE = 30.0
"""Seconds after which a daemon that does not do what it should is stuck."""
_HERE = "127.0.0.1"
_PORTS = range(12_000, 30_000)
_WORKERS = 8
_OURS = _PORTS[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % _WORKERS :: _WORKERS]
"""The ports of this process of pytest."""
_given: deque[int] = deque(maxlen=1000)
"""Given to tests, so not free, though nobody may listen yet."""
"""Below the ports that systems choose for clients: a listener can come back to its own."""
_MODULES = {"twistd": "twisted.scripts.twistd:run", "mailctl": "mailsvc.cli.main:main"}


class Stuck(AssertionError):
    """Something did not happen in time."""


@dataclass(frozen=True)
class Ended:
    """How a program ended, and what it said."""

    status: int
    output: str
    errors: str
    seconds: float

    @property
    def parsed(self) -> Any:
        """What it said, as JSON."""
        return json.loads(self.output)


def program(name: str) -> list[str]:
    """Find ``twistd`` or ``mailctl`` of the Python that runs the tests."""
    beside = Path(sys.executable).with_name(name)
    if beside.exists():
        return [str(beside)]
    module, _, function = _MODULES[name].partition(":")
    return [sys.executable, "-c", f"from {module} import {function}; {function}()"]


def require(there: object, reason: str) -> None:
    """Skip a test that cannot run on this machine; in CI every test must run."""
    if not there:
        _give_up(reason)


def _give_up(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def installed(name: str) -> str:
    """Find a mail client; skip the test where it is not installed."""
    path = shutil.which(name)
    require(path, f"{name} is not installed")
    return str(path)


def note(figures: str) -> None:
    """Tell figures: shown when the test fails, and with ``pytest -s``."""
    print(figures)  # noqa: T201 - pytest catches it


def wait_until(happened: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Ask again and again; ``Stuck`` when the answer is not yes in time."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            raise Stuck(f"not within {seconds:.0f} seconds: {what}")
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """Find ports of this machine that nobody listens on, and that no other test was given."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(_OURS)  # noqa: S311 - no secret
        if port not in _given and _is_free(port):
            found.append(port)
            _given.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((_HERE, port))
        except OSError:
            return False
        return True


def run(
    command: list[str],
    *,
    given: str = "",
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float = PATIENCE,
) -> Ended:
    """
    Run a program to its end.

    Args:
        command: Program and arguments.
        given: Its standard input.
        folder: Where it runs.
        environment: Added to ours.
        seconds: After so long it is stuck.
    """
    began = time.monotonic()
    done = subprocess.run(
        command,
        input=given,
        capture_output=True,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        timeout=seconds,
        text=True,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # The process has ended meanwhile.


class Daemon:
    """
    One daemon; it is started several times on the same state.

    Args:
        folder: Gets ``config.yaml``, the state folder and what the daemon prints.
        settings: For config.yaml, over those that every test needs.
        prefix: Runs it: a program that takes a command.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any] | None = None, prefix: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self._prefix = prefix
        self.passwords: dict[str, str] = {}
        """By the local part of the address; from the output of the first start."""
        self.ports = dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True))
        self.settings: dict[str, Any] = {
            "state": "state",
            "hostname": "mail.test.com",
            "listeners": self._listeners(),
            **(settings or {}),
        }
        self.domain: str = self.settings.get("first_run", {}).get("domain", "test.com")
        self.config = folder / "config.yaml"
        self.write_config(yaml.safe_dump(self.settings, sort_keys=False))
        self._process: subprocess.Popen[bytes] | WarmProcess | None = None
        self._starts = 0

    def _listeners(self) -> dict[str, Any]:
        kinds = {"mx": "smtp", "submission": "submission", "pop3": "pop3"}
        return {
            name: {"kind": kinds[name], "address": _HERE, "port": port}
            for name, port in self.ports.items()
        }

    def add_listener(self, name: str, listener: Mapping[str, Any]) -> None:
        """Add a listener to config.yaml."""
        self.settings["listeners"][name] = {"address": _HERE, **listener}
        self.ports[name] = listener["port"]
        self.write_config(yaml.safe_dump(self.settings, sort_keys=False))

    def write_settings(self) -> None:
        """Write config.yaml anew, from ``settings``."""
        self.write_config(yaml.safe_dump(self.settings, sort_keys=False))

    def write_config(self, text: str) -> None:
        """Replace config.yaml."""
        self.config.write_text(text, encoding="utf-8")

    # Places and texts.

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.folder / str(self.settings["state"])

    @property
    def database(self) -> Path:
        """The SQLite database."""
        return self.state / "mailsvc.db"

    @property
    def pid(self) -> int:
        """The process that runs now."""
        return self._running.pid

    @property
    def output(self) -> str:
        """What the latest start has printed."""
        return self._said("out")

    @property
    def errors(self) -> str:
        """What the latest start has printed on standard error."""
        return self._said("err")

    def last_words(self) -> str:
        """Give the last lines that it has printed, for the report of a test that failed."""
        return "\n".join([*self.output.splitlines()[-30:], *self.errors.splitlines()[-30:]])

    def _said(self, stream: str) -> str:
        path = self._stream(stream)
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def _stream(self, name: str) -> Path:
        return self.folder / f"daemon-{self._starts}.{name}"

    # Life and death.

    def start(self, expect: tuple[str, ...] = LISTENERS) -> Self:
        """
        Start it and wait for its greetings.

        Args:
            expect: The listeners that will greet.
        """
        self._starts += 1
        with (
            Path(os.devnull).open("rb") as nothing,
            self._stream("out").open("wb") as out,
            self._stream("err").open("wb") as err,
        ):
            self._process = self._launch((nothing, out, err))
        for name in expect:
            wait_until(lambda name=name: self._greets(name), f"a greeting of {name}")  # type: ignore[misc]  # bound now
        if not expect:
            wait_until(lambda: self.mailctl("status").status == 0, "an answer to mailctl")
        self.passwords |= dict(
            re.findall(rf"^ +(\w+)@{self.domain} +([0-9a-z-]+)", self.output, re.MULTILINE)
        )
        return self

    def _launch(self, streams: Sequence[IO[bytes]]) -> "subprocess.Popen[bytes] | WarmProcess":
        options = self._options("-n")
        if not self._prefix:
            return warm("twistd").start(options, streams, self.folder)
        return subprocess.Popen(
            [*self._prefix, *program("twistd"), *options],
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            cwd=self.folder,
            start_new_session=True,
        )

    def _options(self, *options: str) -> list[str]:
        pidfile = "" if "-n" in options else str(self.folder / "twistd.pid")
        return [*options, f"--pidfile={pidfile}", "mailsvc", "-c", str(self.config)]

    def _greets(self, name: str) -> bool:
        if self._running.poll() is not None:
            raise Stuck(f"the daemon ended at once:\n{self.output}{self.errors}")
        return self.greeting(name) is not None

    def greeting(self, name: str) -> bytes | None:
        """Connect, and give the first words of a listener; None: it does not answer."""
        try:
            with socket.create_connection((_HERE, self.ports[name]), timeout=PATIENCE) as line:
                return line.recv(512) or None
        except OSError:
            return None

    def try_to_start(self, *, background: bool = False, seconds: float = 20.0) -> Ended:
        """Start it where it cannot start, and wait for its end."""
        options = () if background else ("-n",)
        command = [*self._prefix, *program("twistd"), *self._options(*options)]
        return run(command, folder=self.folder, seconds=seconds)

    def start_in_background(self) -> Ended:
        """Start it without ``-n``; ``stop_in_background`` must follow."""
        ended = self.try_to_start(background=True)
        if ended.status == 0:
            wait_until(lambda: self.greeting("pop3"), "a greeting of pop3")
        return ended

    def processes(self) -> list[int]:
        """Find all processes with its config.yaml, in the background, too."""
        wanted = os.fsencode(self.config)
        return [
            int(place.parent.name)
            for place in Path("/proc").glob("[0-9]*/cmdline")
            if wanted in _read(place).split(b"\0")
        ]

    def stop_in_background(self) -> None:
        """End what ``start_in_background`` has started, and wait for it."""
        pid = int((self.folder / "twistd.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not self.processes(), "the end of the daemon")

    def stop(self, seconds: float = PATIENCE) -> int:
        """Send SIGTERM, wait for the end and give the exit status."""
        process = self._running
        process.terminate()
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Stuck(f"the daemon does not stop within {seconds:.0f} seconds") from None

    def kill(self) -> None:
        """Send SIGKILL, as a crash would."""
        self._running.kill()
        self._running.wait(PATIENCE)

    def clean_up(self) -> None:
        """End it if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    @property
    def _running(self) -> "subprocess.Popen[bytes] | WarmProcess":
        if self._process is None:
            raise RuntimeError("the daemon was not started")
        return self._process

    def memory(self) -> tuple[int, int]:
        """Tell its resident memory in MiB: now, and at most since its start."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        sizes = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", text, re.MULTILINE))
        return int(sizes["VmRSS"]) // 1024, int(sizes["VmHWM"]) // 1024

    # Talking to it.

    def mailctl(self, *arguments: str, given: str = "", seconds: float = PATIENCE) -> Ended:
        """Run ``mailctl`` against it, without the time that it takes to load."""
        began = time.monotonic()
        words = ["-c", str(self.config), *arguments]
        status, output, errors = run_warm(words, given, seconds)
        if status is None:
            raise Stuck(f"not within {seconds:.0f} seconds: mailctl {words}\n{output}{errors}")
        return Ended(status, output, errors, time.monotonic() - began)

    def smtp(self) -> SMTP:
        """Connect as another mail server does."""
        return SMTP(_HERE, self.ports["mx"], timeout=PATIENCE)

    def submission(self, user: str, *, tls: bool = False) -> SMTP:
        """Connect and log in as a user who sends; *tls*: by the certificate that it has made."""
        client = SMTP(_HERE, self.ports["submission"], timeout=PATIENCE)
        try:
            if tls:
                trusted = ssl.create_default_context(cafile=self.state / "tls/certificate.pem")
                client.starttls(context=trusted)
            client.login(f"{user}@{self.domain}", self.passwords[user])
        except SMTPException:
            client.close()
            raise
        return client

    def pop3(self, user: str) -> POP3:
        """Connect and log in as a user who collects."""
        client = POP3(_HERE, self.ports["pop3"], timeout=PATIENCE)
        try:
            client.user(f"{user}@{self.domain}")
            client.pass_(self.passwords[user])
        except error_proto:
            client.close()
            raise
        return client


MakeDaemon = Callable[..., Daemon]
"""Makes a daemon that is not started yet; takes the arguments of ``Daemon``."""
