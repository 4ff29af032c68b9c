"""Write messages into folders: one transaction for many messages; DESIGN: section 6."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from mailsvc.config.units import KIB
from mailsvc.errors import MailboxFull, MailboxTooSmall, MailError
from mailsvc.model.ids import FolderId, IdSource
from mailsvc.model.queued import Queued
from mailsvc.model.quota import Usage, share_told
from mailsvc.store.bulk import BulkInsert
from mailsvc.store.delivery import Delivery, Target, WholeContent
from mailsvc.store.driver import DriverStatement, as_list, driver_of, numbers_of
from mailsvc.store.notices import WriteNotice, limit_notices, quota_notice
from mailsvc.store.portable import PortableQuery
from mailsvc.store.queue import add_to_queue
from mailsvc.store.sending import Reached, SendingBook, Sent
from mailsvc.store.stories import INSERT_STORY
from mailsvc.store.tables import account as account_table
from mailsvc.store.tables import chunk, entry, folder, message, microseconds

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
_COUNTERS_DIRECT = DriverStatement(
    select(folder.c.id, folder.c.account_id, folder.c.uidnext, folder.c.modseq)
    .where(folder.c.id.in_(numbers_of("folders")))
    .order_by(folder.c.id)
)
_USED = (
    select(
        folder.c.account_id,
        func.sum(folder.c.octets),
        func.sum(folder.c.messages),
        account_table.c.quota_told,
    )
    .join(account_table, account_table.c.id == folder.c.account_id)
    .where(folder.c.account_id.in_(bindparam("accounts", expanding=True)))
    .group_by(folder.c.account_id, account_table.c.quota_told)
)
_TELL = (
    update(account_table)
    .where(account_table.c.id == bindparam("account"))
    .values(quota_told=bindparam("told"))
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
_UPDATE_FOLDER_DIRECT = DriverStatement(_UPDATE_FOLDER)


class RecipientGone(MailError):
    """The account was removed between RCPT and the end of the message."""

    text = "A recipient was removed meanwhile; please try again"


class ContentGone(MailError):
    """The session ended before the message was stored."""

    text = "The content of this message is gone; please send it again"


@dataclass(slots=True)
class _Folder:
    """A folder's counters while the transaction adds to them."""

    account: int
    uidnext: int
    modseq: int
    new_messages: int = 0
    new_octets: int = 0


@dataclass(slots=True)
class _Used:
    """What an account with a quota holds while the transaction adds to it."""

    before: Usage
    told: int
    target: Target
    octets: int = 0
    messages: int = 0

    def refusal(self, target: Target, octets: int) -> MailError | None:
        """Tell why a message does not fit; None: it does."""
        most_octets, most_messages = target.quota_octets, target.quota_messages
        if most_octets is not None and self.before.octets + self.octets + octets > most_octets:
            return MailboxTooSmall() if octets > most_octets else MailboxFull()
        if most_messages is not None and self.before.messages + self.messages >= most_messages:
            return MailboxFull()
        return None

    def share(self, usage: Usage) -> int:
        """Tell which of the shares that owners hear of a usage has reached."""
        return share_told(usage, self.target.quota_octets, self.target.quota_messages)

    @property
    def after(self) -> Usage:
        """What the account holds now."""
        return Usage(self.before.octets + self.octets, self.before.messages + self.messages)


@dataclass(frozen=True)
class DeliverRecipe:
    """
    Makes ``DeliverBatch`` in another process.

    Args:
        write_notice: As there; it can be pickled.
    """

    write_notice: WriteNotice | None

    def __call__(self, ids: IdSource) -> "DeliverBatch":
        """Make it."""
        return DeliverBatch(ids, self.write_notice)


class DeliverBatch(PortableQuery):
    """
    Writes many deliveries at once; a ``BatchQuery``.

    A delivery goes to all its folders or to none, but for those that are not required. An
    owner whose mailbox becomes nearly full gets a notice, in the same transaction, so that a
    crash cannot lose it and no other node writes it, too. Folders are locked in the order of
    their numbers, so that two writers never wait for each other.

    Args:
        ids: Numbers for notices and for the rows of the trail.
        write_notice: Makes the content of a notice; called on a writer's thread. None: nobody
            is told.
    """

    def __init__(self, ids: IdSource, write_notice: WriteNotice | None = None) -> None:
        self._ids = ids
        self.write_notice = write_notice

    @property
    def recipe(self) -> DeliverRecipe:
        """Makes the same query in another process."""
        return DeliverRecipe(self.write_notice)

    def parcel(self, item: Delivery) -> Delivery | None:
        """Put a delivery together; a large one stays here, where its pieces are."""
        if item.octets > INLINE or any(report.octets > INLINE for report in item.reports):
            return None
        whole = b"".join(item.content.pieces(INLINE))
        if len(whole) != item.content.octets:
            return None  # its session gave up; whoever writes it finds out
        return item._replace(content=WholeContent(whole))

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
        book = SendingBook(connection, [one for item in items if (one := _sent(item))])
        admitted = [_admit_sent(item, book, folders, usage) for item in items]
        stored = [item for item in admitted if isinstance(item, Delivery)]
        # Behind all messages: a report or a notice never takes the room of one.
        if reports:
            for item in tuple(stored):
                stored += _admit_each(item.reports, folders, usage)
        reached = book.write()
        if reached and self.write_notice is not None:
            stored += self._tell_limits(connection, folders, usage, reached, self.write_notice)
        if usage and self.write_notice is not None:
            stored += self._tell_owners(connection, folders, usage, self.write_notice)
        if stored:
            _insert_bodies(connection, stored)
            self._insert_entries(connection, stored, folders)
            _update_folders(connection, folders)
            add_to_queue(connection, [(row, item.lease) for item in stored for row in item.queued])
        return [None if isinstance(item, Delivery) else item for item in admitted]

    def again(
        self, connection: Connection, items: Sequence[Delivery]
    ) -> Sequence[Exception | None]:
        """Write those whose bodies are not there: a sender who hears 4yz would send it twice."""
        there = _written(connection, [item.message for item in items])
        missing = [item for item in items if item.message not in there]
        answers = iter(self(connection, missing) if missing else ())
        return [None if item.message in there else next(answers) for item in items]

    def _tell_limits(
        self,
        connection: Connection,
        folders: dict[int, _Folder],
        usage: dict[int, _Used],
        reached: Sequence[Reached],
        write: WriteNotice,
    ) -> list[Delivery]:
        """Tell owners and an administrator of limits; one that does not fit is dropped."""
        notices = [
            notice for one in reached for notice in limit_notices(connection, self._ids, write, one)
        ]
        # Later than those of the messages: a deadlock that comes of it is tried again.
        unseen = [one for one in notices if one.targets[0].folder not in folders]
        folders |= _lock_folders(connection, unseen) if unseen else {}
        return _admit_each(notices, folders, usage)

    def _tell_owners(
        self,
        connection: Connection,
        folders: dict[int, _Folder],
        usage: dict[int, _Used],
        write: WriteNotice,
    ) -> list[Delivery]:
        """Make the notices that are due; one that does not fit is due at the next delivery."""
        notices: list[Delivery] = []
        for account, used in usage.items():
            if not used.messages:
                continue
            # Whoever made room meanwhile is told anew.
            told, share = min(used.told, used.share(used.before)), used.share(used.after)
            if share > told:
                notice = quota_notice(connection, self._ids, write, used.target, share, used.after)
                fitting = _admit_each((notice,), folders, usage)
                notices += fitting
                told = share if fitting else told
            if told != used.told:
                connection.execute(_TELL, {"account": account, "told": told})
        return notices

    def _insert_entries(
        self, connection: Connection, items: Sequence[Delivery], folders: dict[int, _Folder]
    ) -> None:
        entries: list[tuple[Any, ...]] = []
        story: list[tuple[Any, ...]] = []
        for item in items:
            message_id, octets, received = item.message, item.octets, microseconds(item.received)
            key = item.header_key
            for account, inbox, recipient, *_ in item.targets:
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
                        key,
                    )
                )
                key = None
                counters.uidnext += 1
            for row in item.queued:
                story.append(self._queued_row(item, row, key))
                key = None
            if item.left_out:
                story += self._left_out(item)
        if entries:
            _INSERT_ENTRIES(connection, entries)
        INSERT_STORY(connection, story)

    def _queued_row(self, item: Delivery, row: Queued, key: int | None) -> tuple[Any, ...]:
        """Tell of a recipient on another server."""
        return (
            self._ids.next(),
            "queued",
            item.message,
            item.login,
            item.client_ip,
            row.sender,
            row.recipient,
            "2.0.0",
            "",
            key,
        )

    def _left_out(self, item: Delivery) -> Iterator[tuple[Any, ...]]:
        """Tell of members of a group who do not get a message."""
        for account, _, recipient, *_ in item.left_out:
            yield (
                self._ids.next(),
                "skipped",
                item.message,
                account,
                item.client_ip,
                item.sender,
                recipient,
                str(MailboxFull.status),
                "",
                None,
            )


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
    driver = driver_of(connection)
    for some in _slices(wanted):
        if driver is None:
            rows = connection.execute(_COUNTERS, {"folders": some}).all()
        else:
            rows = _COUNTERS_DIRECT.rows(driver, folders=as_list(some))
        for number, account, uidnext, modseq in rows:
            found[number] = _Folder(account, uidnext, modseq + 1)
    return found


def _usage(connection: Connection, items: Sequence[Delivery]) -> dict[int, _Used]:
    """Count octets and messages of the accounts that have a quota."""
    limited = {
        target.account: target
        for item in items
        for target in item.targets
        if target.quota_octets is not None or target.quota_messages is not None
    }
    found: dict[int, _Used] = {}
    for some in _slices(sorted(limited)):
        rows = connection.execute(_USED, {"accounts": some})
        for account, octets, messages, told in rows:
            found[account] = _Used(Usage(int(octets), int(messages)), told, limited[account])
    return found


def _sent(item: Delivery) -> Sent | None:
    """Give what is counted of a message; None: nothing is."""
    if item.login is None or item.sending is None or not item.queued:
        return None
    return Sent(item.login, item.queued, item.sending)


def _admit_sent(
    item: Delivery, book: SendingBook, folders: dict[int, _Folder], usage: dict[int, _Used]
) -> Delivery | MailError:
    """Decide on one delivery, by what its sender may send, too."""
    sent = _sent(item)
    refusal = None if sent is None else book.check(sent)
    if refusal is not None:
        return refusal
    admitted = _admit(item, folders, usage)
    if sent is not None and isinstance(admitted, Delivery):
        book.add(sent)
    return admitted


def _admit(
    item: Delivery, folders: dict[int, _Folder], usage: dict[int, _Used]
) -> Delivery | MailError:
    """Decide on one delivery, and count it when it may come in; who is left out goes from it."""
    octets = item.octets
    lacking: dict[Target, MailError] = {}
    for target in item.targets:
        refusal = _refusal(target, octets, folders, usage)
        if refusal is not None:
            if target.required:
                return refusal
            lacking[target] = refusal
    admitted = _without(item, lacking) if lacking else item
    if isinstance(admitted, Delivery):
        for target in admitted.targets:
            counters = folders[target.folder]
            counters.new_messages += 1
            counters.new_octets += octets
            if target.account in usage:
                usage[target.account].octets += octets
                usage[target.account].messages += 1
    return admitted


def _admit_each(
    items: Sequence[Delivery], folders: dict[int, _Folder], usage: dict[int, _Used]
) -> list[Delivery]:
    """Give those that may come in; the others are dropped."""
    admitted = (_admit(item, folders, usage) for item in items)
    return [item for item in admitted if isinstance(item, Delivery)]


def _refusal(
    target: Target, octets: int, folders: dict[int, _Folder], usage: dict[int, _Used]
) -> MailError | None:
    if target.folder not in folders:
        return RecipientGone()
    used = usage.get(target.account)
    return None if used is None else used.refusal(target, octets)


def _without(item: Delivery, lacking: dict[Target, MailError]) -> Delivery | MailError:
    """Leave those out who cannot take it, when every recipient still has somebody who can."""
    kept = tuple(target for target in item.targets if target not in lacking)
    served = {target.recipient for target in kept}
    for target, refusal in lacking.items():
        if target.recipient not in served:
            return refusal
    return item._replace(targets=kept, left_out=tuple(lacking))


def _written(connection: Connection, numbers: Sequence[int]) -> set[int]:
    wanted = select(message.c.id)
    return {
        number
        for some in _slices(numbers)
        for number in connection.scalars(wanted.where(message.c.id.in_(some)))
    }


def insert_body(connection: Connection, item: Delivery) -> None:
    """Write the body of a message that goes into folders later."""
    _insert_bodies(connection, [item])


def _insert_bodies(connection: Connection, items: Sequence[Delivery]) -> None:
    new = [item for item in items if not item.stored]
    if not new:
        return
    _INSERT_MESSAGES(connection, [_message_row(item) for item in new])
    for item in new:
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
    changes = [
        {
            "folder": FolderId(number),
            "next": counters.uidnext,
            "highest": counters.modseq,
            "more_messages": counters.new_messages,
            "more_octets": counters.new_octets,
        }
        for number, counters in folders.items()
        if counters.new_messages
    ]
    driver = driver_of(connection)
    if changes and driver is not None:
        _UPDATE_FOLDER_DIRECT.many(driver, changes)
    elif changes:
        connection.execute(_UPDATE_FOLDER, changes)


def _slices(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), _MOST_PARAMETERS):
        yield numbers[start : start + _MOST_PARAMETERS]
