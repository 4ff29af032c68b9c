"""Tell a sender what became of a message on its way to another server."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from mailsvc.delivery.notices import NoticeWriter
from mailsvc.delivery.reports import Action, Fate, Report, write_report
from mailsvc.model.address import parse_address
from mailsvc.model.ids import IdSource
from mailsvc.model.queued import Queued, Settled, Telling
from mailsvc.policy.srs import restored
from mailsvc.store.deliveries import DeliverBatch
from mailsvc.store.delivery import WholeContent
from mailsvc.store.settling import SettleBatch


@dataclass(frozen=True)
class SettleRecipe:
    """
    Makes the query that settles attempts, here or in another process.

    Args:
        hostname: Our name, in reports.
        secret: Signs the senders that we have rewritten.
    """

    hostname: str
    secret: bytes = field(repr=False)

    def __call__(self, ids: IdSource) -> SettleBatch:
        """Make it."""
        return SettleBatch(
            ids,
            DeliverBatch(ids, NoticeWriter(self.hostname)),
            lambda telling: write_telling(self.hostname, telling),
            lambda address: restored(address, self.secret),
            recipe=self,
        )


def write_telling(hostname: str, telling: Telling) -> WholeContent:
    """
    Write the report; safe on any thread.

    Args:
        hostname: Our name.
    """
    first, _ = telling.pairs[0]
    return write_report(
        Report(
            hostname=hostname,
            sender=telling.recipient,
            identifier=first.identifier,
            arrived=first.created,
            now=datetime.now(UTC),
            fates=[_fate(row, one) for row, one in telling.pairs],
            header=telling.start,
            whole=telling.whole,
        )
    )


def _fate(row: Queued, one: Settled) -> Fate:
    action = Action(one.report)
    return Fate(
        recipient=parse_address(row.recipient, utf8=True),
        action=action,
        status=one.status,
        original=row.original,
        remote=one.host,
        diagnostic=one.text,
        retry_until=row.expires if action is Action.DELAYED else None,
    )
