"""The patrol: whoever may no longer be logged in is sent away."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from mailsvc.background import Background
from mailsvc.errors import MailError
from mailsvc.interfaces import IDirectory, IRules
from mailsvc.model.account import Account, Scope
from mailsvc.model.session import Ending, Visit

EVERY = 2.0
"""Seconds between two rounds: switches turn by themselves, and other nodes change accounts."""


class Floor(Protocol):
    """Where the sessions are: ``Listeners``."""

    def visits(self) -> Iterator[tuple[Scope, Visit]]:
        """Give all sessions, each with the switch that it needs."""

    def end(self, numbers: Sequence[int], why: Ending) -> None:
        """End some of them."""


class Patrol(Service):
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

    _log = Logger()

    def __init__(
        self,
        floor: Floor,
        directory: IDirectory,
        clock: IReactorTime,
        rules: IRules | None = None,
    ) -> None:
        self._rules = rules
        self._floor = floor
        self._directory = directory
        self._background = Background()
        self._wanted = False
        self._walking = False
        self._loop = LoopingCall(self.walk)
        self._loop.clock = clock

    def startService(self) -> None:
        """Start the rounds."""
        super().startService()
        _ = self._loop.start(EVERY, now=False)

    def stopService(self) -> "Deferred[None]":
        """Stop the rounds."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        return Deferred.fromCoroutine(self._background.drain())

    def walk(self) -> None:
        """Start a round now, or another one behind that which is under way."""
        self._wanted = True
        if self.running and not self._walking:
            self._walking = True
            self._background.start(self._walk(), "patrol")

    async def _walk(self) -> None:
        try:
            while self._wanted:
                self._wanted = False
                await self._round()
        except MailError as error:
            self._log.warn("the patrol could not look: {error}", error=str(error))
        finally:
            self._walking = False

    async def _round(self) -> None:
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
                self._log.info("{user} is logged out of {scope}", user=then.address, scope=scope)
        self._floor.end(gone, Ending.LOCKED_OUT)

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
