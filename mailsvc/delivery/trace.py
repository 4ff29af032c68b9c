"""Trace fields on top of a message; RFC 5321 section 4.4."""

import re
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

from mailsvc.model.envelope import Envelope
from mailsvc.model.ids import MessageId
from mailsvc.model.receipt import queue_id

# An mbox line ("From " without colon) is no field, but readers know it and read on.
_BEGINS_WELL = re.compile(rb"\r\n|[!-9;-~]+[ \t]*:|>?From ")


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
    if envelope.cipher:
        lines.append(f"\ttls {envelope.cipher}")  # RFC 8314 section 4.3
    lines[-1] += ";"
    lines.append(f"\t{date(envelope.received)}\r\n")
    return "\r\n".join(lines).encode()


def separator(start: bytes) -> bytes:
    """
    Give an empty line for content that does not begin with a header section.

    Without it the text would read as a broken field, or, when it begins with a space, as
    the rest of ours.

    Args:
        start: The first octets of the content; the name of a field at least.
    """
    return b"" if _BEGINS_WELL.match(start) else b"\r\n"


def date(moment: datetime) -> str:
    """Write a moment as RFC 5322 section 3.3 has it."""
    return _date(int(moment.timestamp()))


@lru_cache(maxsize=16)
def _date(seconds: int) -> str:
    """Write it once for the many messages that share a second."""
    return format_datetime(datetime.fromtimestamp(seconds, UTC))
