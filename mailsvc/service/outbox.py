"""The mail that leaves, from the start of the service to its end."""

from collections.abc import Callable, Collection
from typing import Any

from twisted.internet.defer import Deferred
from twisted.names.client import Resolver

from mailsvc.config.settings import Settings
from mailsvc.config.units import split_endpoint
from mailsvc.delivery.bounces import write_telling
from mailsvc.delivery.notices import write_notice
from mailsvc.outbound.connection import Connector
from mailsvc.outbound.courier import Courier
from mailsvc.policy.srs import restored
from mailsvc.service.rounds import Rounds
from mailsvc.store.database import Database
from mailsvc.store.deliveries import DeliverBatch
from mailsvc.store.settling import SettleBatch

EVERY = 1.0
"""Seconds between two looks for mail whose time has come."""
_DNS = 53
_RESOLV_CONF = "/etc/resolv.conf"


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
        deliver = DeliverBatch(database.ids, lambda notice: write_notice(hostname(), notice))
        settle = SettleBatch(
            database.ids,
            deliver,
            lambda telling: write_telling(hostname(), telling),
            lambda address: restored(address, secret()),
        )
        connector = Connector(reactor, self._resolve, hostname, is_ours)
        self.courier = Courier(database, connector, settle, settings.outbound, reactor, owner)
        self.courier.on_room = self.wake

    def new_mail(self) -> None:
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
