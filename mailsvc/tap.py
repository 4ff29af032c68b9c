"""``twistd mailsvc``: from the command line to the service."""

from pathlib import Path
from typing import Any, ClassVar

from twisted.application.service import IService
from twisted.python import usage

from mailsvc.service.logs import NoTerminal, TerminalLog
from mailsvc.service.stderr import silence_echo
from mailsvc.wire import turns


class Options(usage.Options):
    """The options of ``twistd mailsvc``."""

    synopsis = "[-c config.yaml]"
    longdesc = "A complete mail service: SMTP, POP3, one SQL database. See README.md."
    optParameters: ClassVar[list[list[Any]]] = [
        ["config", "c", "config.yaml", "The configuration; every key is explained in it."]
    ]

    @property
    def changes_user(self) -> bool:
        """Whether twistd gives up what it may before the service starts."""
        twistd = self.parent
        return twistd is not None and any(twistd[name] for name in ("uid", "gid", "chroot"))

    def postOptions(self) -> None:
        """Choose our reactor and our log for the terminal, unless twistd was told others."""
        silence_echo("CannotStart")
        twistd = self.parent
        if twistd is not None:
            turns.install()
        if twistd is None or any(twistd[option] for option in ("logger", "logfile", "syslog")):
            return
        observer = TerminalLog if twistd["nodaemon"] else NoTerminal
        twistd["logger"] = f"{observer.__module__}.{observer.__name__}"


def makeService(options: Options) -> IService:
    """Put the service together; touches no file but the configuration."""
    # Twisted's mail classes import the reactor: not before one was chosen.
    from twisted.internet import reactor  # noqa: TID251 - chosen by now

    from mailsvc.service.told import make_service

    if options.changes_user:
        # Who we become may be unable to read the libraries of who we are.
        import mailsvc.store.migrations  # noqa: F401 - only to have it loaded

    return make_service(Path(options["config"]), reactor)
