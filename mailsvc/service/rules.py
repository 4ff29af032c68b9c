"""The rules in force: read at the start, after each change, and every few seconds."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from zope.interface import implementer

from mailsvc.errors import RecipientDenied, SenderDenied
from mailsvc.interfaces import IRules
from mailsvc.model.account import Account, Scope
from mailsvc.model.address import Address
from mailsvc.model.rule import Direction, Rule
from mailsvc.policy.filters import RuleBook, denies
from mailsvc.service.rounds import Rounds
from mailsvc.store.database import Database
from mailsvc.store.rules import all_rules

EVERY = 5.0
"""Seconds until the rules of another node count here."""
_WAYS = {Scope.SMTP: Direction.SEND, Scope.POP3: Direction.RECEIVE, Scope.WEB: Direction.BOTH}
"""Which way a client's mail goes, by front end."""


def _now() -> datetime:
    return datetime.now(UTC)


@implementer(IRules)
class Rules(Rounds):
    """
    Answers by the rules; while the database does not answer, by those that were there last.

    Args:
        database: Where they are.
        clock: Tells when to look.
        now: Tells the time, aware UTC.
    """

    every, at_once, title = EVERY, True, "reading the rules"

    def __init__(
        self,
        database: Database,
        clock: Any,
        now: Callable[[], datetime] = _now,
    ) -> None:
        super().__init__(clock)
        self._database = database
        self.on_change: Callable[[], None] = lambda: None
        """Called when there are other rules than before."""
        self._now = now
        self._known: list[Rule] = []
        self.book = RuleBook()
        """The rules in force."""

    def use(self, rules: list[Rule]) -> None:
        """Put other rules in force."""
        if rules != self._known:
            self._known, self.book = rules, RuleBook(rules)
            self.on_change()

    async def round(self) -> None:
        """Read them."""
        self.use(await self._database.run(all_rules))

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
