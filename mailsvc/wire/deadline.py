"""The end of each wait for a client, which bears with one that reads slowly."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mailsvc.wire.transport import Transport, unread_octets

LOOKS = 4
"""How often, in the time that a wait may last, we look whether the client has read on."""
_NEVER = float("inf")


class Deadline:
    """
    One timer for all waits on one connection.

    It is compared with the clock when it goes off: cheaper than a timer for each line. A client
    that has read some of what was written is not silent, and gets its time once more. Our own
    buffers do not tell: the kernel takes megabytes, and takes more only when a third has gone.

    Args:
        transport: The connection.
        clock: Tells the time.
        over: Called when the time of a wait is over.
    """

    __slots__ = (
        "_at",
        "_clock",
        "_latest",
        "_looks_at",
        "_over",
        "_patience",
        "_timer",
        "_transport",
        "_unread",
    )

    def __init__(
        self, transport: Transport, clock: IReactorTime, over: Callable[[], object]
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._over = over
        self._at: float | None = None
        self._latest = _NEVER
        self._timer: IDelayedCall | None = None
        self._looks_at = _NEVER
        self._patience = 0.0
        self._unread = 0
        """Octets that the client had not read when we last looked."""

    def begin(self, timeout: float, latest: float, unread: int = 0) -> None:
        """
        Begin a wait.

        Args:
            timeout: Seconds in which something must come, or be read.
            latest: When it is over whatever the client does.
            unread: Octets that the client has not read yet; 0: nobody has asked.
        """
        now = self._clock.seconds()
        self._at = at = min(now + timeout, latest)
        self._latest = latest
        self._patience, self._unread = timeout, unread
        if self._timer is None:
            self._look_later(now, at)
        elif self._looks_at > at or self._looks_at > now + timeout / LOOKS:
            self._timer.cancel()
            self._look_later(now, at)

    def end(self) -> None:
        """End the wait; the timer finds out."""
        self._at = None

    def cancel(self) -> None:
        """End the wait; there will be none any more."""
        self._at, self._over = None, _nobody
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self, now: float, at: float) -> None:
        """Set the timer to the end of the wait, or to when the client may have read on."""
        self._looks_at = max(now, min(at, now + self._patience / LOOKS))
        self._timer = self._clock.callLater(self._looks_at - now, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._at is None:
            return
        now = self._clock.seconds()
        unread = unread_octets(self._transport)
        if unread < self._unread:
            self._at = min(now + self._patience, self._latest)
        self._unread = unread
        if self._at > now:
            self._look_later(now, self._at)
        else:
            self._at = None
            self._over()


def _nobody() -> None:
    """Take the place of who is gone, and let it go."""
