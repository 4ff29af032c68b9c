"""The service as ``twistd`` runs it: whoever waits is told why it does not start."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from mailsvc.config.load import load
from mailsvc.config.settings import Settings
from mailsvc.errors import OperatorError
from mailsvc.service.stderr import StandardError
from mailsvc.service.tree import MailService

Result = TypeVar("Result")
_log = Logger()


class CannotStart(SystemExit, Exception):
    """
    Ends twistd with status 1 and without a word: the operator was told.

    A SystemExit for Python; an Exception for twistd, which passes it from a daemon to the
    process that started it.
    """


class ToldService(MailService):
    """
    The service, telling the operator in one line why it does not start.

    Args:
        settings: All of config.yaml.
        reactor: Twisted's.
        stderr: Where the operator waits.
    """

    def __init__(self, settings: Settings, reactor: Any, stderr: StandardError) -> None:
        super().__init__(settings, reactor)
        self._stderr = stderr

    def privilegedStartService(self) -> None:
        """Open the ports, or tell why not."""
        _tell(super().privilegedStartService, self._stderr)

    def startService(self) -> None:
        """Start, or tell why not."""
        _tell(super().startService, self._stderr)
        self._stderr.close()


def make_service(config: Path, reactor: Any) -> ToldService:
    """Read the configuration and put the service together; touches no file besides."""
    stderr = StandardError()
    service = _tell(lambda: ToldService(load(config), reactor, stderr), stderr)
    # Twisted sets its own handlers when the reactor starts; ours come after them.
    reactor.callWhenRunning(_stop_on_sigterm, reactor)
    return service


def _stop_on_sigterm(reactor: Any) -> None:
    """
    End with status 0 when asked to.

    Twisted stops in order, too, but then dies of the signal: to supervisors, containers and
    scripts that looks like a failure.
    """

    def stop() -> None:
        try:
            reactor.stop()
        except ReactorNotRunning:
            _log.info("asked to stop once more; it is under way")
        else:
            _log.info("asked to stop (SIGTERM)")

    signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(stop))


def _tell(work: Callable[[], Result], stderr: StandardError) -> Result:
    try:
        return work()
    except OperatorError as error:
        stderr.tell("\n".join(f"mailsvc: {line}" for line in str(error).splitlines()))
        raise CannotStart(1) from None
