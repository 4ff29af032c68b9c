"""Remove mail and records that are kept no longer, a few at a time."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailsvc.config.settings import RetentionSettings
from mailsvc.model.maildrop import Clearing
from mailsvc.service.rounds import Rounds
from mailsvc.store.database import Database, Query
from mailsvc.store.expiry import (
    EXPIRE,
    KeptInbox,
    forget_attempts,
    forget_removals,
    forget_story,
    list_expired,
    list_kept_inboxes,
)
from mailsvc.store.maildrop import Maildrops

EVERY = 600.0
"""Seconds between two rounds; days are counted, so nobody notices."""


def _now() -> datetime:
    return datetime.now(UTC)


class Retention(Rounds):
    """
    Removes old mail and old records while the service runs, and once at its start.

    An inbox that a session has open waits for the next round: nobody's mail goes while it
    is being read. Nodes that share a database may look at the same time.

    Args:
        database: Where accounts and records are.
        maildrops: The same ones that POP3 opens: they know who is there.
        settings: How long records are kept.
        clock: Tells when to look.
        now: Tells the time, aware UTC.
    """

    every, at_once, title = EVERY, True, "removing what is old"
    _log = Logger()

    def __init__(
        self,
        database: Database,
        maildrops: Maildrops,
        settings: RetentionSettings,
        clock: IReactorTime,
        now: Callable[[], datetime] = _now,
    ) -> None:
        super().__init__(clock)
        self._database = database
        self._maildrops = maildrops
        self.settings = settings
        """How long records are kept; may be replaced."""
        self._now = now

    async def round(self) -> None:
        """Do it once; what fails is tried again in the next round, and holds nothing else up."""
        await self._try_one("old mail", self._clear_inboxes())
        records = (
            ("rows of the trail", forget_story, self.settings.trail),
            ("attempts to deliver", forget_attempts, self.settings.trail),
            ("records of removals", forget_removals, self.settings.expunged),
        )
        for name, query, seconds in records:
            if seconds is not None:
                await self._try_one(name, self._forget(name, query, seconds))

    async def _try_one(self, name: str, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - the next round tries again
            self._log.warn("removing {name} failed: {error}", name=name, error=str(error))

    async def _clear_inboxes(self) -> None:
        for inbox in await self._database.run(list_kept_inboxes):
            await self._try_one("old mail", self._clear(inbox))

    async def _clear(self, inbox: KeptInbox) -> None:
        before, removed = self._now() - timedelta(days=inbox.days), 0
        account, address, folder, days = inbox
        why = f"older than {days} {'day' if days == 1 else 'days'}"
        while self.running:
            uids = await self._database.run(list_expired, folder, before)
            wish = Clearing(account, address, folder, uids, why)
            gone = await self._maildrops.clear(wish) if uids else None
            removed += gone or 0
            if gone is None or len(uids) < EXPIRE:
                break
        if removed:
            self._log.info(
                "removed {count} {messages} of {account} {why}",
                count=removed,
                messages="message" if removed == 1 else "messages",
                account=address,
                why=why,
            )

    async def _forget(self, name: str, query: Query[[datetime], int], seconds: float) -> None:
        before, removed, some = self._now() - timedelta(seconds=seconds), 0, EXPIRE
        while self.running and some == EXPIRE:
            some = await self._database.write(query, before)
            removed += some
        if removed:
            self._log.info("removed {count} old {name}", count=removed, name=name)
