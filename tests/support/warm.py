"""
Programs without their start: forked from a process that has loaded them.

A daemon takes most of a second to load and ``mailctl`` half a second, and the tests start
hundreds of both. Here each is loaded once for each process of pytest. What runs is the same
program, in a process of its own, with its own arguments, folder, environment and streams.
"""

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

_ROOT = Path(__file__).parents[2]
_LONGEST = 1024 * 1024
"""Octets of a request: arguments and environment."""
_MAINS = {"mailctl": "mailsvc.cli.main:main", "twistd": "twisted.scripts.twistd:run"}
_LOADED = {
    # What commands load only when they need it is loaded, too.
    "mailctl": (
        "mailsvc.cli.talk",
        "mailsvc.config.load",
        "rich.console",
        "rich.progress",
        "rich.table",
    ),
    # All but what imports the reactor: each daemon makes its own.
    "twistd": (
        "mailsvc.admin.administration",
        "mailsvc.config.load",
        "mailsvc.control.server",
        "mailsvc.pop3.replies",
        "mailsvc.service.first_run",
        "mailsvc.service.outbox",
        "mailsvc.service.patrol",
        "mailsvc.service.upkeep",
        "mailsvc.smtp.session",
        "mailsvc.store.migrations",
        "mailsvc.store.schema",
        "mailsvc.tap",
        "sqlalchemy.dialects.mysql.pymysql",
        "sqlalchemy.dialects.postgresql.psycopg",
        "sqlalchemy.dialects.sqlite.pysqlite",
    ),
}


class WarmProcess:
    """
    A process that was forked; what is here is as in ``subprocess.Popen``.

    Args:
        pid: Its number.
        answer: Says its exit status, and ends with it.
    """

    def __init__(self, pid: int, answer: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._answer = answer
        self._handle = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Give the exit status; None: it runs."""
        return self._look(0)

    def wait(self, timeout: float) -> int:
        """Wait for its end; ``subprocess.TimeoutExpired`` when it does not come."""
        if (status := self._look(timeout)) is None:
            raise subprocess.TimeoutExpired("a warm program", timeout)
        return status

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, number)

    def _look(self, seconds: float) -> int | None:
        # Not the answer: a process that it has started may have that open for longer.
        if self.returncode is None and select.select([self._handle], [], [], seconds)[0]:
            said = self._answer.recv(32, socket.MSG_DONTWAIT) if self._has_said() else b""
            # Nothing: a signal has ended it.
            self.returncode = int(said or -signal.SIGKILL)
            os.close(self._handle)
            self._answer.close()
        return self.returncode

    def _has_said(self) -> bool:
        return bool(select.select([self._answer], [], [], 0)[0])


class WarmProgram:
    """A process that has loaded a program and waits to be forked."""

    def __init__(self, name: str) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.warm", name, str(theirs.fileno())],
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self._end)

    def _end(self) -> None:
        self._line.close()
        self._process.wait()

    def start(
        self, arguments: Sequence[str], streams: Sequence[IO[bytes]], folder: Path
    ) -> WarmProcess:
        """
        Run it, in our environment and in a session of its own.

        Args:
            arguments: Without its name.
            streams: Standard input, output and error.
            folder: Where it runs.
        """
        answer, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            request = {
                "arguments": list(arguments),
                "folder": str(folder),
                "environment": dict(os.environ),
            }
            descriptors = [*(stream.fileno() for stream in streams), theirs.fileno()]
            socket.send_fds(self._line, [json.dumps(request).encode()], descriptors)
        process = WarmProcess(int(answer.recv(32)), answer)
        # It does nothing before we hold it: a number may be another's soon.
        answer.send(b"go")
        return process


@cache
def warm(name: str) -> WarmProgram:
    """Give the program of this process of pytest; it ends with it."""
    return WarmProgram(name)


def run_warm(arguments: Sequence[str], given: str, seconds: float) -> tuple[int | None, str, str]:
    """Run ``mailctl``; give its status, None when it was too slow, and what it said."""
    with (
        tempfile.TemporaryFile() as into,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as errors,
    ):
        into.write(given.encode())
        into.seek(0)
        process = warm("mailctl").start(arguments, (into, out, errors), Path.cwd())
        status: int | None
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            status = None
        said = []
        for stream in (out, errors):
            stream.seek(0)
            said.append(stream.read().decode("utf-8", "replace"))
    return status, said[0], said[1]


def _serve(line: socket.socket, main: Callable[[], object]) -> None:
    """Fork for each request, until nobody can ask any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    while True:
        request, descriptors, _, _ = socket.recv_fds(line, _LONGEST, 4)
        if not request:
            return
        if os.fork() == 0:
            line.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _become(json.loads(request), descriptors, main)
        for one in descriptors:
            os.close(one)


def _become(
    request: Mapping[str, Any], descriptors: Sequence[int], main: Callable[[], object]
) -> NoReturn:
    """Be the program, and end as it does."""
    *streams, answer = descriptors
    os.setsid()
    os.set_inheritable(answer, False)
    os.write(answer, b"%d" % os.getpid())
    os.read(answer, 2)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv[1:] = request["arguments"]
    status: object = 0
    try:
        main()
    except SystemExit as end:
        status = end.code
    except BaseException:  # noqa: BLE001 - as Python does
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)  # noqa: T201 - as Python does
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    number = status if isinstance(status, int) else 0
    os.write(answer, b"%d" % number)
    os._exit(number)


def _load(name: str) -> Callable[[], object]:
    for module in _LOADED[name]:
        importlib.import_module(module)
    if name == "twistd" and "twisted.internet.reactor" in sys.modules:
        raise RuntimeError("a daemon must make its own reactor, and one was loaded")
    module, _, function = _MAINS[name].partition(":")
    main: Callable[[], object] = getattr(importlib.import_module(module), function)
    sys.argv[0] = name
    return main


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[2])) as _line:
        _serve(_line, _load(sys.argv[1]))
