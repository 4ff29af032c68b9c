"""Make a message of an administrator one that many can get."""

import re
from datetime import datetime

from mailsvc.delivery.submission import new_message_id
from mailsvc.delivery.trace import date, separator
from mailsvc.errors import CommandError
from mailsvc.model.address import Address
from mailsvc.model.headers import LARGEST_HEADER, Headers
from mailsvc.model.ids import MessageId
from mailsvc.model.receipt import queue_id
from mailsvc.store.delivery import Delivery, WholeContent

_LINE_END = re.compile(rb"\r\n|\r|\n")
_MBOX_LINE = re.compile(rb"\A>?From [^\r\n]*\r\n")


def write_broadcast(
    whole: bytes, sender: Address, message: MessageId, hostname: str, now: datetime
) -> Delivery:
    """
    Make a delivery without targets.

    Lines end in CRLF then, and From, Date and Message-ID are there.

    Args:
        whole: A message: header, empty line, body; any line ends.
        message: Its number.
        hostname: Our name.
        now: Aware UTC.

    Raises:
        CommandError: It is none.
    """
    content = _checked(whole)
    headers = Headers(content[:LARGEST_HEADER])
    path = f"Return-Path: <{sender}>\r\n"
    lines = [f"{path}Received: by {hostname} id {queue_id(message)};\r\n\t{date(now)}\r\n"]
    if headers.first(b"from") is None:
        lines.append(f"From: {sender}\r\n")
    if headers.first(b"date") is None:
        lines.append(f"Date: {date(now)}\r\n")
    if headers.first(b"message-id") is None:
        lines.append(f"Message-ID: {new_message_id(sender.domain)}\r\n")
    return Delivery(
        message=message,
        trace="".join(lines).encode() + separator(content),
        return_path_octets=len(path.encode()),
        content=WholeContent(content),
        sender=str(sender),
        received=now,
        client_ip="",
        targets=(),
    )


def _checked(whole: bytes) -> bytes:
    if not whole.strip():
        raise CommandError("the message is empty")
    if b"\0" in whole:
        raise CommandError("the message holds NUL octets, which no mail may; RFC 5322 section 4")
    content = _MBOX_LINE.sub(b"", _LINE_END.sub(b"\r\n", whole))
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    if not Headers(content[:LARGEST_HEADER]).fields:
        raise CommandError("the message has no header; a text goes with --text and --subject")
    return content
