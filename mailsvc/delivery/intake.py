"""The one way for a message into the service: trace, filters, routing, one transaction."""

from dataclasses import dataclass, field

from twisted.logger import Logger
from zope.interface import implementer

from mailsvc.config.settings import OutboundSettings
from mailsvc.delivery.binary import BinaryConversion
from mailsvc.delivery.delivered import Reporter
from mailsvc.delivery.dkim import sign
from mailsvc.delivery.leaving import leaving
from mailsvc.delivery.notices import NoticeWriter
from mailsvc.delivery.routing import targets_of
from mailsvc.delivery.submission import SubmissionRules, author_domain
from mailsvc.delivery.trace import received, return_path, separator
from mailsvc.errors import MailError, Refused
from mailsvc.filters.chain import FilterChain
from mailsvc.interfaces import IContent, IDepartures, IIntake, Incoming
from mailsvc.model.envelope import Body, Envelope
from mailsvc.model.headers import LARGEST_HEADER, Headers
from mailsvc.model.ids import MessageId
from mailsvc.model.receipt import Receipt
from mailsvc.model.sending import SendingLimits
from mailsvc.model.status import Status
from mailsvc.model.story import Happening, Tell, untold
from mailsvc.model.verdict import Decision, Verdict
from mailsvc.store.database import Database
from mailsvc.store.deliveries import INLINE, DeliverBatch, digest_large
from mailsvc.store.delivery import Delivery, letter_of
from mailsvc.store.stories import header_key

# Of the module: one of the class is made anew each time that it is used.
_log = Logger()


@implementer(IIntake)
@dataclass
class Intake:
    """
    Takes messages in.

    Args:
        database: Where they go.
        chain: The filters in force; may be replaced while the service runs.
        hostname: Our name in the ``Received`` field; may be replaced, too.
        submission: What is asked of our users' messages.
        binary: Makes lines of messages that have none.
        tell: Takes down what is refused.
        outbound: How mail leaves; may be replaced while the service runs.
        departures: Sends what leaves; None: nobody does.
        secret: Signs rewritten senders; may be replaced.
    """

    database: Database
    chain: FilterChain
    hostname: str
    submission: SubmissionRules
    binary: BinaryConversion
    tell: Tell = untold
    outbound: OutboundSettings = field(default_factory=OutboundSettings)
    departures: IDepartures | None = None
    secret: bytes = b""

    def __post_init__(self) -> None:
        """Make the one batch query that all deliveries share, and who reports them."""
        ids = self.database.ids
        self._deliver = DeliverBatch(ids, NoticeWriter(self.hostname))
        self._reporter = Reporter(self.submission.directory, ids, lambda: self.hostname)

    async def accept(self, envelope: Envelope, content: IContent) -> Receipt:
        """Store a message for all its recipients, or for none; returns after the commit."""
        if envelope.body is Body.BINARY:
            converted = await self.binary.convert(content)
            if converted is not None:
                try:
                    return await self._accept(envelope, converted)
                finally:
                    converted.close()
        return await self._accept(envelope, content)

    async def _accept(self, envelope: Envelope, content: IContent) -> Receipt:
        message = MessageId(self.database.ids.next())
        try:
            added, key = await self._look(envelope, content)
            delivery = self._delivery(envelope, content, message, added, key)
            if delivery.queued and envelope.login is not None and self.outbound.dkim:
                delivery = await self._sign(delivery, added)
            return await self._store(delivery, envelope)
        except MailError as error:
            headers = Headers(content.head(LARGEST_HEADER))
            self._tell_refused(envelope, message, _key(envelope, headers), error)
            raise

    async def _store(self, delivery: Delivery, envelope: Envelope) -> Receipt:
        delivery = await self._reporter.report(envelope, delivery)
        if delivery.octets > INLINE:
            delivery = await self.database.run(digest_large, delivery)
        if delivery.queued and self.departures is not None:
            await self._write_leaving(delivery, self.departures)
        else:
            await self._write(delivery)
        receipt = Receipt(delivery.message, delivery.octets)
        _log.info(
            "accepted {id}: {octets} octets from <{sender}> for {count} recipients",
            id=receipt.queue_id,
            octets=receipt.octets,
            sender=delivery.sender,
            count=len(delivery.targets) + len(delivery.queued),
        )
        return receipt

    async def _write(self, delivery: Delivery) -> None:
        await self.database.write_batch(
            self._batch(),
            delivery,
            octets=delivery.weight,
            shard=delivery.targets[0].folder if delivery.targets else delivery.message,
        )

    async def _write_leaving(self, delivery: Delivery, departures: IDepartures) -> None:
        """Write a message that leaves, and hand it over while its content is in memory."""
        rows, small = delivery.queued, delivery.octets <= INLINE
        lease = departures.reserve(rows, delivery.octets) if small else None
        if lease is None:
            await self._write(delivery)
            departures.look()
            return
        letter = letter_of(delivery)
        try:
            await self._write(delivery._replace(lease=lease))
        except BaseException:
            departures.give_up(rows, delivery.octets)
            raise
        departures.take(rows, letter)

    def _batch(self) -> DeliverBatch:
        """Give the query that all deliveries share, as long as we keep our name."""
        writer = NoticeWriter(self.hostname)
        if self._deliver.write_notice != writer:
            self._deliver = DeliverBatch(self.database.ids, writer)
        return self._deliver

    async def _sign(self, delivery: Delivery, added: bytes) -> Delivery:
        """Sign what our users send to other servers, for the domain of its author."""
        headers = Headers(added + delivery.content.head(LARGEST_HEADER))
        domain = author_domain(headers)
        keys = await self.submission.directory.signing_keys(domain) if domain else ()
        if not keys:
            return delivery
        content, moment = delivery.content, delivery.received
        # On the thread of a reader: it takes a millisecond, or more for a large message.
        fields = await self.database.run(lambda _: sign(keys, added, content, moment))
        before = delivery.trace.removesuffix(added) if added else delivery.trace
        return delivery._replace(trace=before + fields + added)

    def _tell_refused(
        self, envelope: Envelope, message: MessageId, key: int | None, error: MailError
    ) -> None:
        """Take down a message that nobody has, for each of its recipients."""
        for recipient in envelope.recipients:
            self.tell(
                Happening(
                    "refused",
                    envelope.client.ip,
                    None if envelope.login is None else envelope.login.id,
                    str(envelope.sender or ""),
                    str(recipient.address),
                    message,
                    key,
                    str(error.status),
                    str(error),
                )
            )

    async def _look(self, envelope: Envelope, content: IContent) -> tuple[bytes, int | None]:
        """
        Refuse what our rules or a filter refuse.

        What was made for looking goes before the commit.

        Returns:
            What is to be added to the trace, and what finds the Message-ID.
        """
        headers = Headers(content.head(LARGEST_HEADER))
        added = await self.submission.complete(envelope, headers)
        _obey(await self.chain.judge(Incoming(envelope, headers, content)))
        key = _key(envelope, headers) or _key(envelope, Headers(added))
        return added + separator(headers.octets), key

    def _delivery(
        self,
        envelope: Envelope,
        content: IContent,
        message: MessageId,
        added: bytes,
        key: int | None,
    ) -> Delivery:
        path, login, outbound = return_path(envelope), envelope.login, self.outbound
        return Delivery(
            message=message,
            trace=path + received(envelope, self.hostname, message) + added,
            return_path_octets=len(path),
            content=content,
            sender=str(envelope.sender or ""),
            received=envelope.received,
            client_ip=envelope.client.ip,
            targets=targets_of(envelope),
            sending=None
            if login is None
            else SendingLimits(outbound.daily_messages, outbound.daily_new_recipients),
            login=None if login is None else login.id,
            queued=leaving(envelope, message, self.database.ids, outbound, self.secret),
            header_key=key,
        )


def _key(envelope: Envelope, headers: Headers) -> int | None:
    return header_key(headers.first(b"message-id"), envelope.received)


def _obey(verdict: Verdict) -> None:
    """Refuse what a filter refuses."""
    if verdict.decision is not Decision.PASS:
        raise Refused(verdict.status or Status(4, 3, 0), verdict.reason)
