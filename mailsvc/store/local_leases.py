"""Who holds which maildrop, where one process has the database for itself."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from twisted.internet.defer import DeferredLock

from mailsvc.errors import MaildropInUse
from mailsvc.model.ids import AccountId
from mailsvc.model.maildrop import Lease


class LocalLeases:
    """
    Leases in memory: they end with the process, cost no commit and need no room on a disk.

    Users can read their mail while the disk is full.

    Args:
        seconds: A clock that never goes back.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._held: dict[AccountId, tuple[int, float]] = {}
        self._cleared: AccountId | None = None
        self._clearing = DeferredLock()

    def take(self, lease: Lease, seconds: float) -> None:
        """Take a lease that is free or void; ``MaildropInUse`` when it is not."""
        if self._is_taken(lease.account):
            raise MaildropInUse
        self._held[lease.account] = (lease.token, self._seconds() + seconds)

    def _is_taken(self, account: AccountId) -> bool:
        _, until = self._held.get(account, (0, 0.0))
        return self._seconds() < until

    @asynccontextmanager
    async def clearing(self, account: AccountId) -> AsyncIterator[bool]:
        """
        Keep sessions out of a maildrop for a moment: they wait in ``cleared``.

        Gives:
            False: a session has it, so it must not be touched.
        """
        async with self._clearing:
            self._cleared = account
            free = not self._is_taken(account)
            if free:
                self._held.pop(account, None)  # void: its session must not come back to it
            try:
                yield free
            finally:
                self._cleared = None

    async def cleared(self, account: AccountId) -> None:
        """Wait until nobody clears the maildrop; to be called before ``take``."""
        while account == self._cleared:
            async with self._clearing:
                pass

    def holds(self, lease: Lease) -> bool:
        """Whether nobody else has taken it meanwhile."""
        return self._held.get(lease.account, (0, 0.0))[0] == lease.token

    def renew(self, lease: Lease, seconds: float) -> bool:
        """Move the end of a lease; False: it is no longer ours."""
        if not self.holds(lease):
            return False
        self._held[lease.account] = (lease.token, self._seconds() + seconds)
        return True

    def release(self, lease: Lease) -> None:
        """Drop a lease if it is still ours."""
        if self.holds(lease):
            del self._held[lease.account]
