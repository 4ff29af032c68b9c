"""Maildrops in memory: they keep every promise of ``IMaildrops``."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from mailsvc.errors import MaildropInUse
from mailsvc.interfaces import IMaildrops
from mailsvc.model.account import Account, Role, Scope
from mailsvc.model.address import Address
from mailsvc.model.ids import AccountId, FolderId, MessageId
from mailsvc.model.maildrop import Lease, Snapshot


def make_account(number: int, *scopes: Scope) -> Account:
    """Make an account that may do what *scopes* say, or everything."""
    return Account(
        id=AccountId(number),
        address=Address(f"user{number}", "test.com"),
        display_name="",
        role=Role.USER,
        enabled=True,
        scopes=frozenset(scopes or Scope),
        inbox=FolderId(number),
        quota_octets=None,
        quota_messages=None,
        verifiers=(),
    )


@dataclass
class Drop:
    """One user's mail: uid to (message, content)."""

    next_uid: int = 1
    entries: dict[int, tuple[MessageId, bytes]] = field(default_factory=dict)


@implementer(IMaildrops)
class MemoryMaildrops:
    """
    Maildrops in memory.

    Args:
        clock: Tells when a lease runs out.
        inline: Larger bodies are in chunks.
        chunk: Octets of one chunk.
    """

    def __init__(self, clock: Clock, inline: int = 64 * 1024, chunk: int = 256 * 1024) -> None:
        self.inline = inline
        self.chunk = chunk
        self.reads: list[int] = []
        """How many messages each query has asked for."""
        self.glances = False
        """Whether bodies can be had in a moment."""
        self.renewals = 0
        self.faults: dict[str, Exception] = {}
        """What the next call of a method raises, once."""
        self.gates: dict[str, Deferred[None]] = {}
        """What the next call of a method waits for."""
        self._clock = clock
        self._drops: dict[AccountId, Drop] = {}
        self._bodies: dict[MessageId, bytes] = {}
        self._leases: dict[AccountId, tuple[int, float]] = {}
        self._last_number = 0

    # For tests.

    def fill(self, account: Account, *bodies: bytes) -> None:
        """Deliver mail."""
        drop = self._drops.setdefault(account.id, Drop())
        for body in bodies:
            message = MessageId(self._number())
            self._bodies[message] = body
            drop.entries[drop.next_uid] = (message, body)
            drop.next_uid += 1

    def mail_of(self, account: Account) -> list[bytes]:
        """Tell what is there."""
        return [body for _, body in self._drop(account.id).entries.values()]

    def remove(self, account: Account, uid: int) -> None:
        """Remove a message as the web does, lease or not."""
        message, _ = self._drop(account.id).entries.pop(uid)
        del self._bodies[message]

    def is_taken(self, account: Account) -> bool:
        """Whether a session has it."""
        return self._leases.get(account.id, (0, float("-inf")))[1] > self._clock.seconds()

    def steal(self, account: Account) -> None:
        """Make every lease of it void."""
        self._leases.pop(account.id, None)

    # IMaildrops

    async def open(self, account: Account, lease: float) -> Snapshot:
        """Take and list it."""
        await self._obstacle("open")
        if self.is_taken(account):
            raise MaildropInUse
        taken = Lease(account.id, account.inbox, self._number())
        self._leases[account.id] = (taken.token, self._clock.seconds() + lease)
        entries = self._drop(account.id).entries
        return Snapshot(
            taken,
            7,
            array("q", entries),
            array("q", (message for message, _ in entries.values())),
            array("q", (len(body) for _, body in entries.values())),
        )

    async def renew(self, lease: Lease, seconds: float) -> bool:
        """Hold it longer."""
        await self._obstacle("renew")
        self.renewals += 1
        if not self._holds(lease):
            return False
        self._leases[lease.account] = (lease.token, self._clock.seconds() + seconds)
        return True

    async def release(self, lease: Lease) -> None:
        """Let go."""
        await self._obstacle("release")
        if self._holds(lease):
            del self._leases[lease.account]

    async def read(
        self, messages: Sequence[MessageId], octets: int
    ) -> Mapping[MessageId, bytes | None]:
        """Fetch small bodies."""
        del octets
        await self._obstacle("read")
        self.reads.append(len(messages))
        found = {number: self._bodies[number] for number in messages if number in self._bodies}
        return {n: body if len(body) <= self.inline else None for n, body in found.items()}

    def glance(
        self, messages: Sequence[MessageId], octets: int
    ) -> Mapping[MessageId, bytes | None] | None:
        """Have no time, unless a test says otherwise."""
        if not self.glances or sum(len(self._bodies[one]) for one in messages) != octets:
            return None
        self.reads.append(len(messages))
        return {n: body if len(body := self._bodies[n]) <= self.inline else None for n in messages}

    async def read_chunk(self, message: MessageId, number: int) -> bytes | None:
        """Fetch a part of a large body."""
        await self._obstacle("read_chunk")
        body = self._bodies.get(message, b"")
        start = number * self.chunk
        return body[start : start + self.chunk] or None if len(body) > self.inline else None

    async def expunge(self, lease: Lease, uids: Sequence[int]) -> None:
        """Remove all or none."""
        await self._obstacle("expunge")
        if not self._holds(lease):
            raise MaildropInUse
        for uid in uids:
            message, _ = self._drop(lease.account).entries.pop(uid, (None, b""))
            self._bodies.pop(cast("MessageId", message), None)

    def _drop(self, account: AccountId) -> Drop:
        return self._drops.setdefault(account, Drop())

    def _holds(self, lease: Lease) -> bool:
        return self._leases.get(lease.account, (0, 0.0))[0] == lease.token

    def _number(self) -> int:
        self._last_number += 1
        return self._last_number

    async def _obstacle(self, name: str) -> None:
        gate = self.gates.pop(name, None)
        if gate is not None:
            await gate
        fault = self.faults.pop(name, None)
        if fault is not None:
            raise fault
