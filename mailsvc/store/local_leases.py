"""Who holds which maildrop, where one process has the database for itself."""

import time
from collections.abc import Callable

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

    def take(self, lease: Lease, seconds: float) -> None:
        """Take a lease that is free or void; ``MaildropInUse`` when it is not."""
        _, until = self._held.get(lease.account, (0, 0.0))
        if self._seconds() < until:
            raise MaildropInUse
        self._held[lease.account] = (lease.token, self._seconds() + seconds)

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
