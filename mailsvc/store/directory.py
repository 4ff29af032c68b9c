"""Find accounts without asking the database each time."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mailsvc.interfaces import IDirectory
from mailsvc.model.account import Account
from mailsvc.model.address import Address
from mailsvc.model.dkim import SigningKey
from mailsvc.model.ids import AccountId
from mailsvc.model.quota import Usage
from mailsvc.model.route import Route
from mailsvc.store.accounts import account_by_id, find_account, shortest_keep
from mailsvc.store.database import Database
from mailsvc.store.dkim import signing_keys
from mailsvc.store.domains import domain_enabled, first_domain
from mailsvc.store.routes import find_route, usage_of

MOST_REMEMBERED = 20_000
"""Answers kept in memory; the ones that were not used for longest go first."""
REMEMBER = 5.0
"""Seconds until an answer is asked for again: how stale another node's change may be."""

Answer = TypeVar("Answer")


@implementer(IDirectory)
class Directory:
    """
    The accounts and domains of the database, remembered for a few seconds.

    Args:
        database: Where they are.
        clock: Tells how old an answer is.
        subaddress: Parts a user's name from a tag behind it; empty: nothing does.
    """

    def __init__(self, database: Database, clock: IReactorTime, subaddress: str = "") -> None:
        self._database = database
        self._clock = clock
        self.subaddress = subaddress
        """Parts a user's name from a tag behind it; empty: nothing does."""
        self.shared_secret = b""
        """What all nodes share; set at the start."""
        self._known: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()
        self._generation = 0
        self.on_change: Callable[[], None] = lambda: None
        """Called after each change that this daemon makes."""

    async def find(self, address: Address, *, fresh: bool = False) -> Account | None:
        """Look up by address."""
        # Nobody else changes a database that this process has for itself.
        fresh = fresh and not self._database.single
        if fresh:
            self._known.pop(address.key, None)
        account = await self._recall(
            address.key, lambda: self._database.run(find_account, address, self.subaddress)
        )
        if fresh and account is not None and (known := self._known.get(address.key)):
            self._known[account.id] = known
        return account

    async def by_id(self, account: AccountId) -> Account | None:
        """Look up by number."""
        return await self._recall(account, lambda: self._database.run(account_by_id, account))

    async def route(self, address: Address) -> Route:
        """Find the mailboxes behind an address."""
        return await self._recall(
            ("route", address.key),
            lambda: self._database.run(find_route, address, self.subaddress),
        )

    async def usage(self, account: AccountId, *, fresh: bool = False) -> Usage:
        """Tell what an account holds."""
        key = ("usage", account)
        if fresh:
            self._known.pop(key, None)
        return await self._recall(key, lambda: self._database.run(usage_of, account))

    async def is_local(self, domain: str) -> bool:
        """Look up a domain."""
        return bool(await self._enabled(domain))

    async def is_disabled(self, domain: str) -> bool:
        """Look up a domain."""
        return await self._enabled(domain) is False

    async def _enabled(self, domain: str) -> bool | None:
        return await self._recall(
            ("domain", domain), lambda: self._database.run(domain_enabled, domain)
        )

    async def signing_keys(self, domain: str) -> tuple[SigningKey, ...]:
        """Give what signs the mail of a domain."""
        return await self._recall(
            ("dkim", domain), lambda: self._database.run(signing_keys, domain)
        )

    def secret(self) -> bytes:
        """Give what all nodes share."""
        return self.shared_secret

    async def home(self) -> str | None:
        """Give the domain of logins that name none."""
        return await self._recall("home", lambda: self._database.run(first_domain))

    async def shortest_keep(self) -> int | None:
        """Give the fewest days that any account keeps its mail."""
        return await self._recall("keep", lambda: self._database.run(shortest_keep))

    def forget(self) -> None:
        """Ask for everything anew: something was changed."""
        self._generation += 1
        self._known.clear()
        self.on_change()

    async def _recall(self, key: Hashable, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        known = self._known.get(key)
        if known is not None and self._clock.seconds() < known[0]:
            self._known.move_to_end(key)
            remembered: Answer = known[1]
            return remembered
        generation = self._generation
        answer = await ask()
        # An answer that was on its way during a change may be the old one.
        if generation == self._generation:
            self._known[key] = (self._clock.seconds() + REMEMBER, answer)
            if len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
        return answer
