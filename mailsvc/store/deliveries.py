"""Write messages into folders: one transaction for many messages; DESIGN: section 6."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, select, update

from mailsvc.config.units import KIB
from mailsvc.errors import MailboxFull, MailError
from mailsvc.interfaces import IContent
from mailsvc.model.ids import AccountId, FolderId, IdSource, MessageId
from mailsvc.store.bulk import BulkInsert
from mailsvc.store.tables import chunk, entry, folder, message, microseconds, trail

CHUNK = 256 * KIB
"""Octets of one chunk; small enough for every server's largest packet."""
INLINE = CHUNK
"""Bodies up to this size stand in the row of the message, larger ones in chunks."""
_MOST_PARAMETERS = 500


# Made once: putting a statement together costs more than running it.
_COUNTERS = (
    select(folder.c.id, folder.c.account_id, folder.c.uidnext, folder.c.modseq)
    .where(folder.c.id.in_(bindparam("folders", expanding=True)))
    .order_by(folder.c.id)
    .with_for_update()
)
_USED = (
    select(folder.c.account_id, func.sum(folder.c.octets), func.sum(folder.c.messages))
    .where(folder.c.account_id.in_(bindparam("accounts", expanding=True)))
    .group_by(folder.c.account_id)
)
_INSERT_MESSAGES = BulkInsert(
    message, "id", "octets", "return_path_octets", "digest", "received", "sender", "body"
)
_INSERT_CHUNKS = BulkInsert(chunk, "message_id", "number", "body")
_INSERT_ENTRIES = BulkInsert(
    entry,
    "folder_id",
    "uid",
    "message_id",
    "octets",
    "received",
    "flags",
    "keywords",
    "modseq",
    "thread_id",
)
_INSERT_STORY = BulkInsert(
    trail,
    "id",
    "event",
    "message_id",
    "account_id",
    "client_ip",
    "sender",
    "recipient",
    "status",
    "detail",
)
_UPDATE_FOLDER = (
    update(folder)
    .where(folder.c.id == bindparam("folder"))
    .values(
        uidnext=bindparam("next"),
        modseq=bindparam("highest"),
        messages=folder.c.messages + bindparam("more_messages"),
        octets=folder.c.octets + bindparam("more_octets"),
    )
)


class RecipientGone(MailError):
    """The account was removed between RCPT and the end of the message."""

    text = "A recipient was removed meanwhile; please try again"


class ContentGone(MailError):
    """The session ended before the message was stored."""

    text = "The content of this message is gone; please send it again"


class Target(NamedTuple):
    """
    One folder that gets the message.

    Args:
        recipient: The address it was sent to; for the trail.
        quota_octets: Most octets in all folders of the account; None: no limit.
        quota_messages: Most messages in all folders of the account; None: no limit.
    """

    account: AccountId
    folder: FolderId
    recipient: str
    quota_octets: int | None
    quota_messages: int | None


class Delivery(NamedTuple):
    """
    A message with all decisions taken.

    Args:
        trace: Goes on top of the content: ``Return-Path`` and ``Received``.
        return_path_octets: How much of it is the ``Return-Path`` field.
        content: As it arrived; read by the writer's thread.
        sender: The reverse-path; empty: null.
        received: Aware UTC.
        targets: One per folder, each folder once.
        event: What the trail calls it: ``accepted`` or ``report``.
        reports: Stored with it, each if its mailbox has room; a report has none itself.
        digest: SHA-256 of trace and content; None: the writer makes it.
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

    @property
    def octets(self) -> int:
        """Size on the wire, before dot-stuffing."""
        return len(self.trace) + self.content.octets

    @property
    def weight(self) -> int:
        """Octets that a transaction writes for it."""
        return self.octets + sum(report.octets for report in self.reports)


@dataclass(slots=True)
class _Folder:
    """A folder's counters while the transaction adds to them."""

    account: int
    uidnext: int
    modseq: int
    new_messages: int = 0
    new_octets: int = 0


class DeliverBatch:
    """
    Writes many deliveries at once; a ``BatchQuery``.

    A delivery goes to all its folders or to none. Folders are locked in the order of
    their numbers, so that two writers never wait for each other.

    Args:
        ids: Numbers for the rows of the trail.
    """

    def __init__(self, ids: IdSource) -> None:
        self._ids = ids

    def __call__(
        self, connection: Connection, items: Sequence[Delivery]
    ) -> Sequence[Exception | None]:
        """
        Write them; ``MailboxFull`` or ``RecipientGone`` for those that cannot be.

        A report whose mailbox is full or gone is dropped: its message is delivered all the same.
        """
        reports = [report for item in items for report in item.reports]
        concerned = [*items, *reports] if reports else items
        folders = _lock_folders(connection, concerned)
        usage = _usage(connection, concerned)
        answers = [_admit(item, folders, usage) for item in items]
        stored = [item for item, answer in zip(items, answers, strict=True) if answer is None]
        if reports:
            # Behind all messages: a report never takes the room of one.
            due = [report for item in stored for report in item.reports]
            stored += [report for report in due if _admit(report, folders, usage) is None]
        if stored:
            _insert_bodies(connection, stored)
            self._insert_entries(connection, stored, folders)
            _update_folders(connection, folders)
        return answers

    def _insert_entries(
        self, connection: Connection, items: Sequence[Delivery], folders: dict[int, _Folder]
    ) -> None:
        entries: list[tuple[Any, ...]] = []
        story: list[tuple[Any, ...]] = []
        for item in items:
            message_id, octets, received = item.message, item.octets, microseconds(item.received)
            for account, inbox, recipient, _, _ in item.targets:
                counters = folders[inbox]
                entries.append(
                    (
                        inbox,
                        counters.uidnext,
                        message_id,
                        octets,
                        received,
                        0,
                        "",
                        counters.modseq,
                        message_id,
                    )
                )
                story.append(
                    (
                        self._ids.next(),
                        item.event,
                        message_id,
                        account,
                        item.client_ip,
                        item.sender,
                        recipient,
                        "2.0.0",
                        "",
                    )
                )
                counters.uidnext += 1
        _INSERT_ENTRIES(connection, entries)
        _INSERT_STORY(connection, story)


def digest_large(_: Connection, item: Delivery) -> Delivery:
    """
    Put the digest of a large message to it, so that the writer need not make it.

    A query that asks nothing: it runs on the thread of a reader while the writer commits.

    Raises:
        ContentGone: Its session gave up.
    """
    return item._replace(digest=_digest(item))


def _lock_folders(connection: Connection, items: Sequence[Delivery]) -> dict[int, _Folder]:
    """Read the counters of all folders concerned, and keep others from changing them."""
    wanted = sorted({target.folder for item in items for target in item.targets})
    found: dict[int, _Folder] = {}
    for some in _slices(wanted):
        rows = connection.execute(_COUNTERS, {"folders": some})
        for number, account, uidnext, modseq in rows:
            found[number] = _Folder(account, uidnext, modseq + 1)
    return found


def _usage(connection: Connection, items: Sequence[Delivery]) -> dict[int, list[int]]:
    """Count octets and messages of the accounts that have a quota."""
    limited = {
        target.account
        for item in items
        for target in item.targets
        if target.quota_octets is not None or target.quota_messages is not None
    }
    found: dict[int, list[int]] = {}
    for some in _slices(sorted(limited)):
        rows = connection.execute(_USED, {"accounts": some})
        for account, octets, messages in rows:
            found[account] = [int(octets), int(messages)]
    return found


def _admit(
    item: Delivery, folders: dict[int, _Folder], usage: dict[int, list[int]]
) -> Exception | None:
    """Decide on one delivery, and count it when it may come in."""
    octets = item.octets
    for target in item.targets:
        if target.folder not in folders:
            return RecipientGone()
        used = usage.get(target.account)
        if used is not None and _too_much(target, used[0] + octets, used[1] + 1):
            return MailboxFull()
    for target in item.targets:
        counters = folders[target.folder]
        counters.new_messages += 1
        counters.new_octets += octets
        if target.account in usage:
            usage[target.account][0] += octets
            usage[target.account][1] += 1
    return None


def _too_much(target: Target, octets: int, messages: int) -> bool:
    return (target.quota_octets is not None and octets > target.quota_octets) or (
        target.quota_messages is not None and messages > target.quota_messages
    )


def _insert_bodies(connection: Connection, items: Sequence[Delivery]) -> None:
    _INSERT_MESSAGES(connection, [_message_row(item) for item in items])
    for item in items:
        if item.octets > INLINE:
            for number, piece in enumerate(_pieces(item)):
                _INSERT_CHUNKS(connection, [(item.message, number, piece)])


def _message_row(item: Delivery) -> tuple[Any, ...]:
    octets = item.octets
    body = b"".join(_pieces(item)) if octets <= INLINE else None
    digest = item.digest or (_digest(item) if body is None else sha256(body).digest())
    return (
        item.message,
        octets,
        item.return_path_octets,
        digest,
        microseconds(item.received),
        item.sender,
        body,
    )


def _digest(item: Delivery) -> bytes:
    digest = sha256()
    for piece in _pieces(item):
        digest.update(piece)
    return digest.digest()


def _pieces(item: Delivery) -> Iterator[bytes]:
    """
    Give trace and content; the trace rides on the first piece.

    Raises:
        ContentGone: Its session gave up and closed it: half a message is never stored.
    """
    pieces = iter(item.content.pieces(CHUNK))
    first = item.trace + next(pieces, b"")
    missing = item.octets - len(first)
    yield first
    for piece in pieces:
        missing -= len(piece)
        yield piece
    if missing:
        raise ContentGone


def _update_folders(connection: Connection, folders: dict[int, _Folder]) -> None:
    connection.execute(
        _UPDATE_FOLDER,
        [
            {
                "folder": FolderId(number),
                "next": counters.uidnext,
                "highest": counters.modseq,
                "more_messages": counters.new_messages,
                "more_octets": counters.new_octets,
            }
            for number, counters in folders.items()
            if counters.new_messages
        ],
    )


def _slices(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), _MOST_PARAMETERS):
        yield numbers[start : start + _MOST_PARAMETERS]
