"""Hold users to the least time between two logins; RFC 2449 section 6.5."""

from collections import OrderedDict
from collections.abc import Callable

from mailsvc.errors import LoginTooSoon
from mailsvc.model.ids import AccountId
from mailsvc.policy.limits import in_words


class Visits:
    """
    Remembers who has collected mail lately, in memory, on this node.

    Args:
        delay: Seconds that must lie between two logins of a user; 0: none.
        seconds: The clock.
    """

    __slots__ = ("_last", "_seconds", "delay")

    def __init__(self, delay: float, seconds: Callable[[], float]) -> None:
        self.delay = delay
        """Seconds that must lie between two logins of a user; 0: none."""
        self._seconds = seconds
        self._last: OrderedDict[AccountId, float] = OrderedDict()

    def admit(self, account: AccountId) -> None:
        """
        Ask before a maildrop is opened.

        Raises:
            LoginTooSoon: The user was here a moment ago; the text says when to come back.
        """
        last = self._last.get(account)
        if last is None:
            return
        wait = last + self.delay - self._seconds()
        if wait > 0:
            words = in_words(wait)
            raise LoginTooSoon(f"You have logged in a moment ago; please come back in {words}")

    def note(self, account: AccountId) -> None:
        """Note that a maildrop was opened."""
        if not self.delay:
            return
        now = self._seconds()
        self._last[account] = now
        self._last.move_to_end(account)
        while next(iter(self._last.values())) + self.delay <= now:
            self._last.popitem(last=False)
