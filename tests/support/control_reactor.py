"""Run real sockets and threads in one test, on a reactor of its own."""

import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

Result = TypeVar("Result")
MAILCTL = (sys.executable, "-c", "from mailsvc.cli.main import main; main()")
"""The command, wherever it is installed."""

Finished = subprocess.CompletedProcess[str]


def run_for_real(work: Callable[[Any], Coroutine[Any, Any, Result]], seconds: float = 30) -> Result:
    """Run *work* on a reactor that stops when it is done, or after *seconds*."""
    reactor: Any = SelectReactor()
    outcome: list[Result | Failure] = []

    def begin() -> None:
        running = Deferred.fromCoroutine(work(reactor)).addTimeout(seconds, reactor)
        _ = running.addBoth(outcome.append).addBoth(lambda _nothing: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=False)
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]


async def run_mailctl(reactor: Any, *arguments: str, stdin: str = "") -> Finished:
    """Run the real mailctl while the reactor goes on."""
    pool = ThreadPool(1, 1)
    pool.start()

    def call() -> Finished:
        return subprocess.run(
            [*MAILCTL, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    try:
        return await deferToThreadPool(reactor, pool, call)
    finally:
        pool.stop()
