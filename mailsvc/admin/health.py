"""How the daemon is."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime

from mailsvc.errors import MailError
from mailsvc.interfaces import ISwitchboard
from mailsvc.model.listener import ListenerState
from mailsvc.store.database import Database
from mailsvc.store.overview import NOTHING_SEEN, Overview, overview

_PATIENCE = 5.0
"""Seconds that a status waits for the database: it is asked for when something is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """
    How the daemon is.

    Args:
        version: Of mailsvc.
        uptime: Since its start.
        fault: Why the database does not answer; None: it does, and only then the next
            four are known.
        engine: Name and version of the database.
        revision: Of its schema.
        waiting: Writes that wait for their commit.
        listeners: In the order of config.yaml.
        pending: Accounts that wait for an administrator.
        remote: Where mailctl of other machines is answered; empty: nowhere.
        fingerprint: SHA-256 of the certificate there, hexadecimal digits with colons.
    """

    version: str
    hostname: str
    pid: int
    uptime: timedelta
    fault: str | None
    engine: str | None
    revision: str | None
    domains: int | None
    accounts: int | None
    waiting: int
    listeners: tuple[ListenerState, ...]
    pending: int | None = None
    remote: str = ""
    fingerprint: str = ""


class Health:
    """
    Looks at the parts of the daemon.

    Args:
        database: Asked for its state.
        switchboard: Knows the listeners.
        clock: Tells the uptime, which begins now.
        hostname: The name of this service in greetings.
        version: Of mailsvc.
    """

    def __init__(
        self,
        database: Database,
        switchboard: ISwitchboard,
        clock: IReactorTime,
        *,
        hostname: str,
        version: str,
    ) -> None:
        self._database = database
        self._switchboard = switchboard
        self._clock = clock
        self.hostname = hostname
        """Our name; may be replaced."""
        self.version = version
        self.remote = ""
        """Where mailctl of other machines is answered; empty: nowhere."""
        self.fingerprint: Callable[[], str] = str
        """Gives that of the certificate there."""
        self._started = clock.seconds()

    async def status(self) -> ServiceStatus:
        """Tell how the service is; answers without the database, too."""
        seen, fault = await self._look()
        return ServiceStatus(
            version=self.version,
            hostname=self.hostname,
            pid=os.getpid(),
            uptime=timedelta(seconds=self._clock.seconds() - self._started),
            fault=fault,
            engine=seen.engine,
            revision=seen.revision,
            domains=seen.domains,
            accounts=seen.accounts,
            waiting=self._database.waiting,
            listeners=tuple(self._switchboard.listeners()),
            pending=seen.pending,
            remote=self.remote,
            fingerprint=self.fingerprint() if self.remote else "",
        )

    async def _look(self) -> tuple[Overview, str | None]:
        """Ask the database, or say why it does not answer."""
        asked = Deferred.fromCoroutine(self._database.run(overview))
        try:
            return await asked.addTimeout(_PATIENCE, self._clock), None
        except TookTooLong:
            return NOTHING_SEEN, f"no answer within {_PATIENCE:.0f} seconds"
        except MailError as error:
            return NOTHING_SEEN, str(error)
