"""Trace fields on top of a message; RFC 5321 section 4.4."""

from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

from mailsvc.model.envelope import Envelope
from mailsvc.model.ids import MessageId
from mailsvc.model.receipt import queue_id


def return_path(envelope: Envelope) -> bytes:
    """Write the field that tells the user where bounces go; made at final delivery only."""
    return f"Return-Path: <{envelope.sender or ''}>\r\n".encode()


def received(envelope: Envelope, hostname: str, message: MessageId) -> bytes:
    """
    Write the time stamp line.

    ``for`` stands there for one recipient only: with more it would tell one of another.
    """
    lines = [
        f"Received: from {envelope.helo} ({envelope.client.literal})",
        f"\tby {hostname} with {envelope.protocol} id {queue_id(message)}",
    ]
    if len(envelope.recipients) == 1:
        lines.append(f"\tfor <{envelope.recipients[0].address}>")
    lines[-1] += ";"
    lines.append(f"\t{_moment(int(envelope.received.timestamp()))}\r\n")
    return "\r\n".join(lines).encode()


@lru_cache(maxsize=16)
def _moment(seconds: int) -> str:
    """Write a moment as RFC 5322 section 3.3 has it; many messages share a second."""
    return format_datetime(datetime.fromtimestamp(seconds, UTC))
