"""
Programs without their start: forked from a process that has loaded them.

``mailctl`` takes half a second to load, and one test calls every command of it. Here it is
loaded once for each process of pytest. What runs is the same program, in a process of its
own, with its own arguments, folder, environment and streams.
"""

import atexit
import gc
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


class WarmProgram:
    """A process that has loaded ``mailctl`` and waits to be forked."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.warm", str(theirs.fileno())],
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self._end)

    def _end(self) -> None:
        self._line.close()
        self._process.wait()

    def run(
        self,
        arguments: Sequence[str],
        streams: Sequence[IO[bytes]],
        seconds: float,
    ) -> int | None:
        """
        Run it to its end, in our folder and environment.

        Args:
            arguments: Without its name.
            streams: Standard input, output and error.
            seconds: How long it may take.

        Returns:
            Its exit status; None: it takes too long, and was killed.
        """
        answer, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with answer, theirs:
            request = {
                "arguments": list(arguments),
                "folder": str(Path.cwd()),
                "environment": dict(os.environ),
            }
            descriptors = [*(stream.fileno() for stream in streams), theirs.fileno()]
            socket.send_fds(self._line, [json.dumps(request).encode()], descriptors)
            theirs.close()
            pid = int(answer.recv(32))
            if not select.select([answer], [], [], seconds)[0]:
                os.kill(pid, signal.SIGKILL)
                return None
            # Nothing: it was killed.
            return int(answer.recv(32) or -signal.SIGKILL)


@cache
def warm_mailctl() -> WarmProgram:
    """Give the one of this process; it ends with it."""
    return WarmProgram()


def run_warm(arguments: Sequence[str], given: str, seconds: float) -> tuple[int | None, str, str]:
    """Run ``mailctl``; give its status, None when it was too slow, and what it said."""
    with (
        tempfile.TemporaryFile() as into,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as errors,
    ):
        into.write(given.encode())
        into.seek(0)
        status = warm_mailctl().run(arguments, (into, out, errors), seconds)
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
    os.write(answer, b"%d" % os.getpid())
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


def _serve_mailctl(descriptor: int) -> None:
    # What commands load only when they need it is loaded, too.
    import rich.console
    import rich.progress
    import rich.table

    import mailsvc.cli.talk
    import mailsvc.config.load
    from mailsvc.cli.main import main

    del rich, mailsvc
    sys.argv[0] = "mailctl"
    with socket.socket(fileno=descriptor) as line:
        _serve(line, main)


if __name__ == "__main__":
    _serve_mailctl(int(sys.argv[1]))
