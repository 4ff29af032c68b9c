"""How the daemon is."""

import os
from collections.abc import Callable
from datetime import timedelta

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime

from mailsvc.errors import MailError
from mailsvc.interfaces import ISwitchboard
from mailsvc.model.service import ServiceStatus
from mailsvc.store.database import Database
from mailsvc.store.overview import NOTHING_SEEN, Overview, overview

_PATIENCE = 5.0
"""Seconds that a status waits for the database: it is asked for when something is wrong."""


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
        self.away: Callable[[], tuple[str, ...]] = tuple
        """Tells which servers are left alone for a while."""
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
            queued=None if seen.queue is None else seen.queue.waiting + seen.queue.held,
            held=None if seen.queue is None else seen.queue.held,
            oldest=None if seen.queue is None else seen.queue.oldest,
            away=self.away(),
            remote=self.remote,
            fingerprint=self.fingerprint() if self.remote else "",
            writer=self._database.writer,
        )

    async def _look(self) -> tuple[Overview, str | None]:
        """Ask the database, or say why it does not answer."""
        asked = Deferred.fromCoroutine(self._database.run(overview))
        try:
            return await asked.addTimeout(_PATIENCE, self._clock), None
        except TookTooLong:
            return NOTHING_SEEN, f"no answer within {_PATIENCE:.0f} seconds"
        except MailError as error:
            return NOTHING_SEEN, self._database.why(error)
