"""The patrol: whoever may no longer be logged in is sent away."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailsvc.interfaces import IDirectory, IRules
from mailsvc.model.account import Account, Scope
from mailsvc.model.session import Ending, Visit
from mailsvc.service.rounds import Rounds

EVERY = 2.0
"""Seconds between two rounds: switches turn by themselves, and other nodes change accounts."""


class Floor(Protocol):
    """Where the sessions are: ``Listeners``."""

    def visits(self) -> Iterator[tuple[Scope, Visit]]:
        """Give all sessions, each with the switch that it needs."""

    def end(self, numbers: Sequence[int], why: Ending) -> None:
        """End some of them."""


class Patrol(Rounds):
    """
    Compares who is logged in with who may be: every few seconds, and after each change.

    A session goes when its account is gone or disabled, or its domain, when the switch of
    its front end is off, when the password was replaced, and when a rule keeps the client or
    the user out.

    Args:
        floor: Where the sessions are.
        directory: Knows the accounts.
        clock: Tells when.
        rules: Keep clients and users out; None: there are none.
    """

    every, title = EVERY, "the patrol"
    _log = Logger()

    def __init__(
        self,
        floor: Floor,
        directory: IDirectory,
        clock: IReactorTime,
        rules: IRules | None = None,
    ) -> None:
        super().__init__(clock)
        self._rules = rules
        self._floor = floor
        self._directory = directory
        self._sent_away: frozenset[int] = frozenset()
        """Sessions of the last round that had to go: some end a little later."""

    async def round(self) -> None:
        """Look at each session once, and at each account once."""
        seen: dict[Any, Account | None] = {}
        gone: list[int] = []
        for scope, visit in [*self._floor.visits()]:
            if self._is_kept_out(scope, visit):
                gone.append(visit.number)
                continue
            then = visit.account
            if then is None:
                continue
            if then.id not in seen:
                seen[then.id] = await self._directory.by_id(then.id)
            if not _may_stay(then, seen[then.id], scope):
                gone.append(visit.number)
                if visit.number not in self._sent_away:
                    self._log.info(
                        "{user} is logged out of {scope}", user=then.address, scope=scope
                    )
        self._floor.end(gone, Ending.LOCKED_OUT)
        self._sent_away = frozenset(gone)

    def _is_kept_out(self, scope: Scope, visit: Visit) -> bool:
        """Tell whether a rule that came later keeps a client or a user out."""
        rules, client, account = self._rules, visit.client, visit.account
        if rules is None:
            return False
        if client is not None and not rules.admits(client.ip, scope):
            return True
        return account is not None and not rules.lets_in(account, scope)


def _may_stay(then: Account, now: Account | None, scope: Scope) -> bool:
    if now is None or not now.enabled or scope not in now.scopes:
        return False
    good = {(one.id, one.hashed) for one in now.verifiers}
    return all((one.id, one.hashed) in good for one in then.verifiers)
