"""The rules in force: read at the start, after each change, and every few seconds."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from mailsvc.background import Background
from mailsvc.errors import RecipientDenied, SenderDenied
from mailsvc.interfaces import IRules
from mailsvc.model.account import Account, Scope
from mailsvc.model.address import Address
from mailsvc.model.rule import Direction, Rule
from mailsvc.policy.filters import RuleBook, denies
from mailsvc.store.database import Database
from mailsvc.store.rules import all_rules

EVERY = 5.0
"""Seconds until the rules of another node count here."""
_WAYS = {Scope.SMTP: Direction.SEND, Scope.POP3: Direction.RECEIVE, Scope.WEB: Direction.BOTH}
"""Which way a client's mail goes, by front end."""


def _now() -> datetime:
    return datetime.now(UTC)


@implementer(IRules)
class Rules(Service):
    """
    Answers by the rules; while the database does not answer, by those that were there last.

    Args:
        database: Where they are.
        clock: Tells when to look.
        now: Tells the time, aware UTC.
    """

    _log = Logger()

    def __init__(
        self,
        database: Database,
        clock: Any,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._database = database
        self.on_change: Callable[[], None] = lambda: None
        """Called when there are other rules than before."""
        self._now = now
        self._known: list[Rule] = []
        self.book = RuleBook()
        """The rules in force."""
        self._background = Background()
        self._loop = LoopingCall(self.look)
        self._loop.clock = clock

    def startService(self) -> None:
        """Look now, and again and again."""
        super().startService()
        _ = self._loop.start(EVERY)

    def stopService(self) -> "Deferred[None]":
        """Stop to look."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        return Deferred.fromCoroutine(self._background.drain())

    def use(self, rules: list[Rule]) -> None:
        """Put other rules in force."""
        if rules != self._known:
            self._known, self.book = rules, RuleBook(rules)
            self.on_change()

    def look(self) -> None:
        """Read the rules."""
        if self.running:
            self._background.start(self._look(), "reading the rules")

    async def _look(self) -> None:
        try:
            self.use(await self._database.run(all_rules))
        except Exception as error:  # noqa: BLE001 - the next look tries again
            self._log.warn("the rules could not be read: {error}", error=str(error))

    def admits(self, ip: str, scope: Scope) -> bool:
        """Whether a client may connect."""
        return not denies(self.book.about_client(ip, scope.value, _WAYS[scope], self._now()))

    def lets_in(self, account: Account, scope: Scope) -> bool:
        """Whether a user may log in."""
        found = self.book.about_address(account.address, scope.value, _WAYS[scope], self._now())
        return not denies(found)

    def check_sender(self, address: Address) -> None:
        """Refuse the mail of a sender."""
        if denies(self.book.about_address(address, "smtp", Direction.SEND, self._now())):
            raise SenderDenied

    def check_recipient(self, address: Address) -> None:
        """Refuse mail for a recipient."""
        if denies(self.book.about_address(address, "smtp", Direction.RECEIVE, self._now())):
            raise RecipientDenied
