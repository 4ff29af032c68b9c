"""Broadcasts: messages to everybody, to a domain or to a group."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from twisted.internet.interfaces import IReactorTime

from mailsvc.admin.office import Office
from mailsvc.admin.rules import checked_page, parsed_domain
from mailsvc.delivery.broadcasts import write_broadcast
from mailsvc.errors import CommandError, NotFound
from mailsvc.model.address import Address
from mailsvc.model.alias import AliasKind
from mailsvc.model.broadcast import Audience, BroadcastPreview, BroadcastState, NewBroadcast
from mailsvc.model.ids import MessageId
from mailsvc.model.page import Page, page_of
from mailsvc.store.aliases import get_alias
from mailsvc.store.broadcasts import (
    Plan,
    begin_broadcast,
    count_audience,
    get_broadcast,
    list_broadcasts,
    stop_broadcast,
)
from mailsvc.store.trail import Record

MOST_DRAFTS = 4
"""Messages that may come in pieces at the same time."""
DRAFT_LIMIT = 600.0
"""Seconds that a draft waits for its next piece."""


@dataclass
class _Draft:
    """A message of which some pieces have come."""

    until: float
    octets: bytearray = field(default_factory=bytearray)


class Broadcasts:
    """
    Takes messages to many and follows them; errors as in ``Administration``.

    A message comes as a draft, in pieces: a value of the control channel is small.

    Args:
        office: Where changes are made.
        clock: Tells when a draft is forgotten.
        hostname: Our name.
        most_octets: The largest message.
        wake: Called when there is something to deliver.
    """

    def __init__(
        self,
        office: Office,
        clock: IReactorTime,
        *,
        hostname: str,
        most_octets: int,
        wake: Callable[[], None],
    ) -> None:
        self._office = office
        self._clock = clock
        self.hostname = hostname
        """Our name; may be replaced."""
        self.most_octets = most_octets
        """The largest message; may be replaced."""
        self._wake = wake
        self._drafts: dict[int, _Draft] = {}

    async def draft(self) -> int:
        """
        Begin a message; gives its number.

        Raises:
            CommandError: Too many are begun.
        """
        now = self._clock.seconds()
        self._drafts = {key: one for key, one in self._drafts.items() if now < one.until}
        if len(self._drafts) >= MOST_DRAFTS:
            raise CommandError("other messages are just being written; try again in a minute")
        number = self._office.ids.next()
        self._drafts[number] = _Draft(now + DRAFT_LIMIT)
        return number

    async def add(self, draft: int, octets: bytes) -> int:
        """
        Add a piece to a message; gives its octets so far.

        Raises:
            NotFound: There is no such draft.
            CommandError: The message is too large; it is forgotten.
        """
        found = self._find(draft)
        found.octets += octets
        found.until = self._clock.seconds() + DRAFT_LIMIT
        if len(found.octets) > self.most_octets:
            del self._drafts[draft]
            raise CommandError(f"the message is larger than {self.most_octets} octets")
        return len(found.octets)

    def _find(self, draft: int) -> _Draft:
        found = self._drafts.get(draft)
        if found is None:
            raise NotFound("this draft is forgotten; begin anew")
        return found

    async def preview(self, new: NewBroadcast) -> BroadcastPreview:
        """
        Tell what a broadcast would be; nothing is sent.

        Raises:
            NotFound: There is no such domain or group.
        """
        sender, name = await self._sender(new.sender), await self._name(new)
        found = await self._office.database.run(count_audience, new.audience, name)
        return BroadcastPreview(str(sender), name, found)

    async def send(self, new: NewBroadcast, draft: int, *, by: str) -> BroadcastState:
        """
        Send a draft; returns when it is stored, and goes on from there whatever happens.

        Raises:
            NotFound: There is no such draft, domain or group.
            CommandError: The draft is no message, or nobody would get it.
        """
        sender, name = await self._sender(new.sender), await self._name(new)
        if not await self._office.database.run(count_audience, new.audience, name):
            raise CommandError("nobody would get it")
        message = MessageId(self._office.ids.next())
        delivery = write_broadcast(
            bytes(self._find(draft).octets), sender, message, self.hostname, datetime.now(UTC)
        )
        plan = Plan(delivery, new.audience, name, by)
        told = {"to": name or new.audience.value, "sender": str(sender), "message": message}
        record = Record(by, "broadcast send", told)
        state = await self._office.change(record, begin_broadcast, self._office.ids, plan)
        self._drafts.pop(draft, None)
        self._wake()
        return state

    async def list(self, after: str, most: int) -> Page[BroadcastState]:
        """List broadcasts, the latest first, a page at a time."""
        if after and not (after.isascii() and after.isdigit()):
            raise CommandError(f"{after!r} is no place in a list; begin anew")
        most, before = checked_page(most), int(after) if after else None
        found = await self._office.database.run(list_broadcasts, before, most + 1)
        return page_of(found, most, lambda one: str(one.number))

    async def show(self, number: int) -> BroadcastState:
        """
        Tell how far one is.

        Raises:
            NotFound: There is none with this number.
        """
        return await self._office.database.run(get_broadcast, number)

    async def stop(self, number: int, *, by: str) -> BroadcastState:
        """
        End one where it is; who has it keeps it.

        Raises:
            NotFound: There is none under way with this number.
        """
        record = Record(by, "broadcast stop", {"broadcast": number})
        return await self._office.change(record, stop_broadcast, number)

    async def _sender(self, text: str) -> Address:
        return await self._office.address(text or "postmaster")

    async def _name(self, new: NewBroadcast) -> str:
        """Give the domain or the group in whole."""
        if new.audience is Audience.ALL:
            return ""
        if new.audience is Audience.DOMAIN:
            return parsed_domain(new.name)
        address = await self._office.address(new.name)
        group = await self._office.database.run(get_alias, AliasKind.GROUP, address)
        return str(group.address)
