"""Remove mail that is older than its owner keeps it, a few messages at a time."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from mailsvc.store.database import Database
from mailsvc.store.expiry import EXPIRE, KeptInbox, list_expired, list_kept_inboxes
from mailsvc.store.maildrop import Maildrops

EVERY = 600.0
"""Seconds between two rounds; days are counted, so nobody notices."""


def _now() -> datetime:
    return datetime.now(UTC)


class OldMail(Service):
    """
    Clears inboxes of old mail while the service runs, and once at its start.

    An inbox that a session has open waits for the next round: nobody's mail goes while it
    is being read.

    Args:
        database: Where the accounts are.
        maildrops: The same ones that POP3 opens: they know who is there.
        clock: Tells when to look.
        now: Tells the time, aware UTC.
    """

    _log = Logger()

    def __init__(
        self,
        database: Database,
        maildrops: Maildrops,
        clock: IReactorTime,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._database = database
        self._maildrops = maildrops
        self._now = now
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self.round()))
        self._loop.clock = clock

    def startService(self) -> None:
        """Start the rounds."""
        super().startService()
        _ = self._loop.start(EVERY)

    def stopService(self) -> None:
        """Stop them; one under way ends with its transaction."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()

    async def round(self) -> None:
        """Do it once; what fails is tried again in the next round, and holds nothing else up."""
        inboxes: Sequence[KeptInbox] = ()
        try:
            inboxes = await self._database.run(list_kept_inboxes)
        except Exception as error:  # noqa: BLE001 - the next round tries again
            self._warn(error)
        for inbox in inboxes:
            try:
                await self._clear(inbox)
            except Exception as error:  # noqa: BLE001 - the next round tries again
                self._warn(error)

    def _warn(self, error: Exception) -> None:
        self._log.warn("removing old mail failed: {error}", error=str(error))

    async def _clear(self, inbox: KeptInbox) -> None:
        before, removed = self._now() - timedelta(days=inbox.days), 0
        while self.running:
            uids = await self._database.run(list_expired, inbox.folder, before)
            if not uids or not await self._maildrops.clear(inbox.account, inbox.folder, uids):
                break
            removed += len(uids)
            if len(uids) < EXPIRE:
                break
        if removed:
            self._log.info(
                "removed {count} messages older than {days} days of account {account}",
                count=removed,
                days=inbox.days,
                account=inbox.account,
            )
