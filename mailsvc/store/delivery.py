"""A message with all decisions taken, before it is written."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from zope.interface import implementer

from mailsvc.interfaces import IContent
from mailsvc.model.ids import AccountId, FolderId, MessageId
from mailsvc.model.queued import Letter, Queued, QueueLease
from mailsvc.model.sending import SendingLimits

NULL_PATH = b"Return-Path: <>\r\n"
"""On top of what we write ourselves."""


class Target(NamedTuple):
    """
    One folder that gets the message.

    Args:
        recipient: The address it was sent to; for the trail.
        quota_octets: Most octets in all folders of the account; None: no limit.
        quota_messages: Most messages in all folders of the account; None: no limit.
        required: False: it is one of several behind the recipient, and left out when its
            mailbox is full or gone; another one of them gets the message.
    """

    account: AccountId
    folder: FolderId
    recipient: str
    quota_octets: int | None
    quota_messages: int | None
    required: bool = True


class Delivery(NamedTuple):
    """
    A message with all decisions taken.

    Args:
        trace: Goes on top of the content: ``Return-Path`` and ``Received``.
        return_path_octets: How much of it is the ``Return-Path`` field.
        content: As it arrived; read by the writer's thread.
        sender: The reverse-path; empty: null.
        received: Aware UTC.
        targets: One per folder, each folder once; none, when all recipients are elsewhere.
        event: What the trail calls it: ``accepted`` or ``report``.
        reports: Stored with it, each if its mailbox has room; a report has none itself.
        digest: SHA-256 of trace and content; None: the writer makes it.
        left_out: Who does not get it, for it does not fit; for the trail.
        header_key: Finds its Message-ID in the trail; None: it has none.
        stored: Whether its body is in the database already; its trace is empty then.
        queued: Recipients on other servers.
        lease: Who sends it at once; None: it waits until somebody takes it.
        login: Whose message it is; None: it came from elsewhere.
        sending: What the house lets one account send in a day; None: nobody counts it.
    """

    message: MessageId
    trace: bytes
    return_path_octets: int
    content: IContent
    sender: str
    received: datetime
    client_ip: str
    targets: tuple[Target, ...]
    event: str = "accepted"
    reports: tuple["Delivery", ...] = ()
    digest: bytes | None = None
    left_out: tuple[Target, ...] = ()
    header_key: int | None = None
    stored: bool = False
    queued: tuple[Queued, ...] = ()
    lease: QueueLease | None = None
    login: AccountId | None = None
    sending: SendingLimits | None = None

    @property
    def octets(self) -> int:
        """Size on the wire, before dot-stuffing."""
        return len(self.trace) + self.content.octets

    @property
    def weight(self) -> int:
        """Octets that a transaction writes for it."""
        return self.octets + sum(report.octets for report in self.reports)


def letter_of(delivery: Delivery) -> Letter:
    """Give a small message as it will be stored."""
    body = b"".join((delivery.trace, *delivery.content.pieces(delivery.octets)))
    return Letter(len(body), delivery.return_path_octets, body)


@implementer(IContent)
@dataclass(frozen=True)
class WholeContent:
    """
    Content that is in memory, in one piece.

    Args:
        whole: All of it.
    """

    whole: bytes

    @property
    def octets(self) -> int:
        """Its size."""
        return len(self.whole)

    def head(self, limit: int) -> bytes:
        """Give the first octets."""
        return self.whole[:limit]

    def pieces(self, size: int) -> Iterator[bytes]:
        """Give everything, *size* octets at a time."""
        for start in range(0, len(self.whole), size):
            yield self.whole[start : start + size]
