"""Reports of what became of a message; RFC 3461, 3464, 6522 and, for UTF-8 addresses, 6533."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from mailsvc.config.units import KIB
from mailsvc.delivery.submission import new_message_id
from mailsvc.delivery.trace import date
from mailsvc.model.address import Address
from mailsvc.model.status import Status
from mailsvc.store.delivery import WholeContent

LARGEST_QUOTE = 64 * KIB
"""Octets of the original header that a report shows."""


class Action(StrEnum):
    """What became of the message for one recipient; RFC 3464 section 2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


class Fate(NamedTuple):
    """
    What became of a message for one recipient.

    Args:
        recipient: As the client wrote it in RCPT.
        action: What was done.
        status: Why; RFC 3463.
        original: ORCPT without xtext, ``rfc822;bob@example.com``; empty: none.
        remote: The server that answered; empty: none was asked.
        diagnostic: Its reply in words, one line; empty: none.
        retry_until: For delayed: when we give up; aware UTC.
    """

    recipient: Address
    action: Action
    status: Status
    original: str = ""
    remote: str = ""
    diagnostic: str = ""
    retry_until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """
    One report, about one message, for its sender.

    Args:
        hostname: Who reports.
        sender: Who gets it.
        identifier: ENVID without xtext; empty: none.
        arrived: When the message came; aware UTC.
        now: When the report is made; aware UTC.
        fates: One at least.
        header: The start of the message as it was delivered; only its header is shown.
        whole: All of the message is there and shown.
    """

    hostname: str
    sender: Address
    identifier: str
    arrived: datetime
    now: datetime
    fates: Sequence[Fate]
    header: bytes
    whole: bool = False

    @property
    def international(self) -> bool:
        """Whether an address in it needs the forms of RFC 6533."""
        return not all(
            fate.recipient.ascii and fate.original.isascii() for fate in self.fates
        ) or not (self.sender.ascii and self.identifier.isascii())


_SUBJECTS = {
    Action.FAILED: "Your message could not be delivered",
    Action.DELAYED: "Your message is delayed",
    Action.DELIVERED: "Your message was delivered",
    Action.RELAYED: "Your message was passed on",
    Action.EXPANDED: "Your message was passed on to a list",
}
_SENTENCES = {
    Action.FAILED: "It could not be delivered to these addresses, and nobody tries any more:",
    Action.DELAYED: "It could not be delivered to these addresses yet; we go on trying:",
    Action.DELIVERED: "It was put into the mailboxes of these addresses:",
    Action.RELAYED: (
        "It was passed on for these addresses to servers that send no reports; this is the"
        " last you hear of it:"
    ),
    Action.EXPANDED: "It was passed on to all members behind these addresses:",
}


def write_report(report: Report) -> WholeContent:
    """Write a report as a ``multipart/report`` message; RFC 6522 section 3."""
    boundary = secrets.token_hex(16)
    parts = (_explanation(report), _status(report), _original(report))
    body = b"".join(b"--%s\r\n%s\r\n" % (boundary.encode(), part) for part in parts)
    head = _header(report, boundary).encode()
    return WholeContent(head + b"\r\n" + body + f"--{boundary}--\r\n".encode())


def _header(report: Report, boundary: str) -> str:
    return (
        f"Date: {date(report.now)}\r\n"
        f"From: Mail Delivery System <MAILER-DAEMON@{report.hostname}>\r\n"
        f"To: {report.sender}\r\n"
        f"Subject: {_SUBJECTS[report.fates[0].action]}\r\n"
        f"Message-ID: {new_message_id(report.hostname)}\r\n"
        "Auto-Submitted: auto-replied\r\n"  # RFC 3834 section 5
        "MIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status;\r\n"
        f'\tboundary="{boundary}"\r\n'
    )


def _explanation(report: Report) -> bytes:
    """Tell people what happened."""
    lines = [
        f"This is the mail system at {report.hostname}.",
        "",
        f"You sent a message on {date(report.arrived)}.",
    ]
    for action in dict.fromkeys(fate.action for fate in report.fates):
        lines += ["", *_folded(_SENTENCES[action]), ""]
        for fate in report.fates:
            if fate.action is action:
                lines.append(f"    {fate.recipient}")
                lines += [f"        {fate.diagnostic}"] if fate.diagnostic else []
    what = "Your message is below." if report.whole else "The header of your message is below."
    lines += ["", what, ""]
    return _part("text/plain; charset=utf-8", "\r\n".join(lines).encode())


def _folded(sentence: str) -> list[str]:
    cut = sentence.rfind(" ", 0, 78)
    return [sentence] if len(sentence) <= 78 else [sentence[:cut], sentence[cut + 1 :]]  # noqa: PLR2004 - RFC 5322 section 2.1.1


def _status(report: Report) -> bytes:
    """Tell programs; RFC 3464 section 2."""
    kind = "global-delivery-status" if report.international else "delivery-status"
    groups = [_message_fields(report), *(_recipient_fields(fate) for fate in report.fates)]
    text = "\r\n".join("".join(f"{line}\r\n" for line in group) for group in groups)
    return _part(f"message/{kind}", text.encode())


def _message_fields(report: Report) -> list[str]:
    fields = [f"Reporting-MTA: dns; {report.hostname}", f"Arrival-Date: {date(report.arrived)}"]
    if report.identifier:
        fields.insert(0, f"Original-Envelope-Id: {report.identifier}")
    return fields


def _recipient_fields(fate: Fate) -> list[str]:
    kind = "rfc822" if fate.recipient.ascii else "utf-8"  # RFC 6533 section 3
    fields = [f"Original-Recipient: {fate.original}"] if fate.original else []
    fields += [
        f"Final-Recipient: {kind}; {fate.recipient}",
        f"Action: {fate.action}",
        f"Status: {fate.status}",
    ]
    if fate.remote:
        fields.append(f"Remote-MTA: dns; {fate.remote}")
    if fate.diagnostic:
        fields.append(f"Diagnostic-Code: smtp; {fate.diagnostic}")
    if fate.retry_until is not None:
        fields.append(f"Will-Retry-Until: {date(fate.retry_until)}")
    return fields


def _original(report: Report) -> bytes:
    """Show the header of the message, or all of it; RFC 3461 section 4.3."""
    if report.whole:
        kind = "message/rfc822" if report.header.partition(b"\r\n\r\n")[0].isascii() else None
        return _part(kind or "message/global", report.header)
    header = report.header.partition(b"\r\n\r\n")[0].removesuffix(b"\r\n") + b"\r\n"
    if len(header) > LARGEST_QUOTE:
        header = header[: header.rfind(b"\r\n", 0, LARGEST_QUOTE) + 2]
    return _part("text/rfc822-headers" if header.isascii() else "message/global-headers", header)


def _part(kind: str, content: bytes) -> bytes:
    encoding = "7bit" if content.isascii() else "8bit"
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode() + content
