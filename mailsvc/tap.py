"""``twistd mailsvc``: from the command line to the service."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from twisted.application.service import IService
from twisted.python import usage

from mailsvc.config.load import load
from mailsvc.errors import OperatorError
from mailsvc.service.logs import NoTerminal, TerminalLog
from mailsvc.service.tree import MailService

Result = TypeVar("Result")


class CannotStart(SystemExit, Exception):
    """
    Ends twistd with one clear message and status 1, never with a traceback.

    A SystemExit for Python; an Exception for twistd, which passes its text from a daemon
    to the terminal that started it.
    """


class Options(usage.Options):
    """The options of ``twistd mailsvc``."""

    synopsis = "[-c config.yaml]"
    longdesc = "A complete mail service: SMTP, POP3, one SQL database. See README.md."
    optParameters: ClassVar[list[list[Any]]] = [
        ["config", "c", "config.yaml", "The configuration; every key is explained in it."]
    ]

    def postOptions(self) -> None:
        """Log to the terminal in our way, unless twistd was told another one."""
        twistd = self.parent
        if twistd is None or any(twistd[option] for option in ("logger", "logfile", "syslog")):
            return
        observer = TerminalLog if twistd["nodaemon"] else NoTerminal
        twistd["logger"] = f"{observer.__module__}.{observer.__name__}"


class ToldService(MailService):
    """The service, telling the operator in one line why it does not start."""

    def privilegedStartService(self) -> None:
        """Open the ports, or tell why not."""
        _tell(super().privilegedStartService)

    def startService(self) -> None:
        """Start, or tell why not."""
        _tell(super().startService)


def makeService(options: Options) -> IService:
    """Read the configuration and put the service together; touches no file besides."""
    from twisted.internet import reactor  # noqa: TID251 - twistd has chosen it by now

    return _tell(lambda: ToldService(load(Path(options["config"])), reactor))


def _tell(work: Callable[[], Result]) -> Result:
    try:
        return work()
    except OperatorError as error:
        lines = (f"mailsvc: {line}" for line in str(error).splitlines())
        raise CannotStart("\n".join(lines)) from None
