"""The mail that leaves, from the start of the service to its end."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.names.client import Resolver
from zope.interface import implementer

from mailsvc.config.settings import Settings
from mailsvc.config.units import split_endpoint
from mailsvc.delivery.bounces import SettleRecipe
from mailsvc.interfaces import IDepartures
from mailsvc.model.queued import Letter, Queued, QueueLease
from mailsvc.outbound.connection import Connector
from mailsvc.outbound.courier import Courier
from mailsvc.service.rounds import Rounds
from mailsvc.store.database import Database
from mailsvc.store.settling import SettleBatch

EVERY = 1.0
"""Seconds between two looks for mail whose time has come."""
_DNS = 53
_RESOLV_CONF = "/etc/resolv.conf"


@implementer(IDepartures)
class Outbox(Rounds):
    """
    Lets the courier work.

    Args:
        database: Where the queue is.
        reactor: Opens connections, and tells the time.
        settings: All of them.
        owner: A number that no other daemon has.
        hostname: Tells our name.
        is_ours: Whether one of our own listeners for mail has a port.
        secret: Gives what signs rewritten senders.
    """

    # Not at once: the first start still writes on the connection that a writer would take.
    every, title = EVERY, "sending mail"

    def __init__(
        self,
        database: Database,
        reactor: Any,
        settings: Settings,
        owner: int,
        hostname: Callable[[], str],
        is_ours: Callable[[int], bool],
        secret: Callable[[], bytes],
    ) -> None:
        super().__init__(reactor)
        self._reactor = reactor
        self._patience = settings.limits.stop_timeout
        self._dns = settings.outbound.dns
        self._resolver: Any = None
        self._ids = database.ids
        self._hostname, self._secret = hostname, secret
        self._settle: SettleBatch | None = None
        connector = Connector(reactor, self._resolve, hostname, is_ours)
        self.courier = Courier(
            database, connector, self._settling, settings.outbound, reactor, owner
        )
        self.courier.on_room = self.wake

    def reserve(self, rows: Sequence[Queued], octets: int) -> QueueLease | None:
        """Make room for the rows of a message that is about to be stored."""
        return self.courier.reserve(rows, octets)

    def take(self, rows: Sequence[Queued], letter: Letter) -> None:
        """Send what was just stored."""
        self.courier.take_fresh(rows, letter)

    def give_up(self, rows: Sequence[Queued], octets: int) -> None:
        """Give room back."""
        self.courier.give_up(rows, octets)

    def look(self) -> None:
        """Take mail that has just come, unless there is enough to do."""
        if self.courier.hungry:
            self.wake()

    def use(self, settings: Settings) -> None:
        """Hold to other settings."""
        self._patience = settings.limits.stop_timeout
        if settings.outbound.dns != self._dns:
            self._dns, self._resolver = settings.outbound.dns, None
        self.courier.use(settings.outbound)

    def send_now(self, domains: Collection[str]) -> None:
        """Ask the servers of domains at once, whatever they did before."""
        self.courier.reopen(domains)
        self.wake()

    def away(self) -> tuple[str, ...]:
        """Tell which servers are left alone for a while."""
        return tuple(
            f"{', '.join(one.domains[:3])}: until {one.until:%H:%M:%S} UTC, {one.trouble}"
            for one in self.courier.closed()[:10]
        )

    def startService(self) -> None:
        """Begin."""
        self.courier.running = True
        super().startService()

    async def round(self) -> None:
        """Take what is due."""
        await self.courier.round()

    async def last(self) -> None:
        """End behind what is under way."""
        await self.courier.stop(self._patience)

    def stopService(self) -> "Deferred[None]":
        """Take no more."""
        self.courier.running = False
        return super().stopService()

    def _settling(self) -> SettleBatch:
        """Give what settles attempts; the same as long as we keep our name."""
        recipe = SettleRecipe(self._hostname(), self._secret())
        if self._settle is None or self._settle.recipe != recipe:
            self._settle = recipe(self._ids)
        return self._settle

    def _resolve(self) -> Any:
        """Give what asks DNS; made when it is needed first."""
        if self._resolver is None:
            servers = [split_endpoint(one, _DNS) for one in self._dns]
            self._resolver = Resolver(
                resolv=None if servers else _RESOLV_CONF,
                servers=servers or None,
                reactor=self._reactor,
            )
        return self._resolver
