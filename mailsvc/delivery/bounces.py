"""Tell a sender what became of a message on its way to another server."""

from datetime import UTC, datetime

from mailsvc.delivery.reports import Action, Fate, Report, write_report
from mailsvc.model.address import parse_address
from mailsvc.model.queued import Queued, Settled, Telling
from mailsvc.store.delivery import WholeContent


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
