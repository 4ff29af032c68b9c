"""What the fate of a recipient means for its row, and for its sender."""

from datetime import datetime
from typing import NamedTuple

from mailsvc.config.settings import OutboundSettings
from mailsvc.model.outgoing import Fate, Outcome
from mailsvc.model.queued import Queued, Settled
from mailsvc.model.status import Status
from mailsvc.policy.retry import next_attempt

_TRIED_AGAIN = frozenset({Outcome.LATER, Outcome.UNKNOWN})


class Try(NamedTuple):
    """
    One attempt.

    Args:
        started: When it began, aware UTC.
        host: The server; empty: none was reached.
        said: The conversation.
        cipher: Of its TLS; empty: there was none.
    """

    started: datetime
    host: str
    said: str
    cipher: str = ""


def judge(
    row: Queued,
    fate: Fate,
    attempt: Try,
    now: datetime,
    settings: OutboundSettings,
    closed_until: datetime | None = None,
) -> Settled:
    """
    Decide what a fate means for a row; RFC 5321 section 4.5.4.1.

    Args:
        now: Aware UTC.
        settings: When it is tried again, and for how long.
        closed_until: Its server is left alone until then; None: it is not.
    """
    again = None
    outcome, status, text = fate.outcome, fate.status, fate.text
    if outcome in _TRIED_AGAIN:
        again = next_attempt(row.attempts + 1, row.expires, now, settings)
        if again is None:
            outcome, status = Outcome.BOUNCE, Status(5, 4, 7)
            text = f"{text} (tried for too long)"
        elif closed_until is not None:
            again = min(closed_until, row.expires)
    return Settled(
        id=row.id,
        outcome=outcome,
        next_attempt=again or now,
        text=text,
        started=attempt.started,
        host=attempt.host,
        tls=attempt.cipher,
        conversation=attempt.said,
        status=status,
        report=_report(
            row, fate if outcome is fate.outcome else fate._replace(outcome=outcome), now
        ),
    )


def _report(row: Queued, fate: Fate, now: datetime) -> str:
    """Choose what the sender is told; RFC 3461 sections 4.1 and 6.2."""
    asked = set(row.notify.split(",")) - {""}
    if fate.outcome is Outcome.BOUNCE:
        # A bounce of a bounce ends at the postmaster.
        return "failed" if not asked or "FAILURE" in asked or not row.sender else ""
    if not row.sender:
        return ""
    if fate.outcome is Outcome.DONE:
        # RFC 2852 section 4.1.4: nobody else will tell the sender of a deadline that has passed.
        told = fate.relayed_without_by and "NEVER" not in asked
        return "relayed" if told or (fate.relayed_without_dsn and "SUCCESS" in asked) else ""
    if row.notice_at is not None and row.notice_at <= now:
        return "delayed" if not asked or "DELAY" in asked else ""
    return ""
