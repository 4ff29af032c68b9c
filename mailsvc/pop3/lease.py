"""Hold a maildrop's lease while its session lives; RFC 1939 section 4."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailsvc.background import Background
from mailsvc.errors import MailError
from mailsvc.interfaces import IMaildrops
from mailsvc.model.maildrop import Lease

RENEWALS = 3
"""How often a lease is renewed in its life, so that one or two may fail."""


class HeldLease:
    """
    Renews a lease in time, tells when it is lost, and gives it back once.

    Args:
        maildrops: Whose lease it is.
        lease: Taken, and valid for *seconds* from now.
        seconds: How long it is valid without a renewal.
        clock: Tells when to renew.
        background: Runs what nobody waits for.
    """

    __slots__ = (
        "_background",
        "_clock",
        "_lease",
        "_maildrops",
        "_seconds",
        "_timer",
        "on_lost",
        "on_renewal",
    )

    _log = Logger()

    def __init__(
        self,
        maildrops: IMaildrops,
        lease: Lease,
        seconds: float,
        clock: IReactorTime,
        background: Background,
    ) -> None:
        self._maildrops = maildrops
        self._lease = lease
        self._seconds = seconds
        self._clock = clock
        self._background = background
        self.on_lost: Callable[[], None] | None = None
        """Called when another session may have the maildrop."""
        self.on_renewal: Callable[[], None] | None = None
        """Called each time: what is not used can be tidied up."""
        self._timer: IDelayedCall | None = None
        self._plan()

    @property
    def released(self) -> bool:
        """Whether it was given back."""
        return self._timer is None

    async def release(self) -> None:
        """Let the next session in; harmless the second time."""
        if self._timer is None:
            return
        if self._timer.active():
            self._timer.cancel()
        self._timer = None
        await self._maildrops.release(self._lease)

    def _plan(self) -> None:
        self._timer = self._clock.callLater(self._seconds / RENEWALS, self._renew_now)

    def _renew_now(self) -> None:
        if self.on_renewal is not None:
            self.on_renewal()
        self._background.start(self._renew(), "renewal of a maildrop's lease")

    async def _renew(self) -> None:
        kept = True
        try:
            kept = await self._maildrops.renew(self._lease, self._seconds)
        except MailError as error:
            # It may still be ours: the removal at QUIT looks again.
            self._log.warn("a maildrop's lease could not be renewed: {error}", error=error)
        finally:
            if kept and not self.released:
                self._plan()
        if not kept and not self.released and self.on_lost is not None:
            self.on_lost()
