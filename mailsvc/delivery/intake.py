"""The one way for a message into the service: trace, filters, routing, one transaction."""

from dataclasses import dataclass

from twisted.logger import Logger
from zope.interface import implementer

from mailsvc.delivery.routing import targets_of
from mailsvc.delivery.trace import received, return_path
from mailsvc.errors import Refused
from mailsvc.filters.chain import FilterChain
from mailsvc.interfaces import IContent, IIntake, Incoming
from mailsvc.model.envelope import Envelope
from mailsvc.model.headers import LARGEST_HEADER, Headers
from mailsvc.model.ids import MessageId
from mailsvc.model.receipt import Receipt
from mailsvc.model.status import Status
from mailsvc.model.verdict import Decision, Verdict
from mailsvc.store.database import Database
from mailsvc.store.deliveries import DeliverBatch, Delivery


@implementer(IIntake)
@dataclass
class Intake:
    """
    Takes messages in.

    Args:
        database: Where they go.
        chain: The filters in force; may be replaced while the service runs.
        hostname: Our name in the ``Received`` field.
    """

    database: Database
    chain: FilterChain
    hostname: str
    _log = Logger()

    def __post_init__(self) -> None:
        """Make the one batch query that all deliveries share."""
        self._deliver = DeliverBatch(self.database.ids)

    async def accept(self, envelope: Envelope, content: IContent) -> Receipt:
        """Store a message for all its recipients, or for none; returns after the commit."""
        message = MessageId(self.database.ids.next())
        await self._filter(envelope, content)
        delivery = self._delivery(envelope, content, message)
        await self.database.write_batch(
            self._deliver,
            delivery,
            octets=delivery.octets,
            shard=delivery.targets[0].folder,
        )
        receipt = Receipt(message, delivery.octets)
        self._log.info(
            "accepted {id}: {octets} octets from <{sender}> for {count} recipients",
            id=receipt.queue_id,
            octets=receipt.octets,
            sender=delivery.sender,
            count=len(delivery.targets),
        )
        return receipt

    async def _filter(self, envelope: Envelope, content: IContent) -> None:
        """Refuse what a filter refuses; what was made for the filters goes before the commit."""
        headers = Headers(content.head(LARGEST_HEADER))
        _obey(await self.chain.judge(Incoming(envelope, headers, content)))

    def _delivery(self, envelope: Envelope, content: IContent, message: MessageId) -> Delivery:
        path = return_path(envelope)
        return Delivery(
            message=message,
            trace=path + received(envelope, self.hostname, message),
            return_path_octets=len(path),
            content=content,
            sender=str(envelope.sender or ""),
            received=envelope.received,
            client_ip=envelope.client.ip,
            targets=targets_of(envelope),
        )


def _obey(verdict: Verdict) -> None:
    """Refuse what a filter refuses."""
    if verdict.decision is not Decision.PASS:
        raise Refused(verdict.status or Status(4, 3, 0), verdict.reason)
