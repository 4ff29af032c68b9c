"""Fetch the bodies of one maildrop: many small ones in one query, large ones in chunks."""

from collections.abc import AsyncIterator, Container, Mapping, Sequence

from twisted.logger import Logger

from mailsvc.config.units import KIB, MIB
from mailsvc.interfaces import IMaildrops
from mailsvc.model.ids import MessageId
from mailsvc.model.maildrop import Snapshot
from mailsvc.pop3.replies import ok_message

FIRST_READ = 16
"""Bodies in the first query, and in one behind a jump."""
NEXT_READ = 50
"""Bodies in each further query of a client that goes through its maildrop."""
MOST_AHEAD = 512 * KIB
"""Octets that one session may hold ahead; SQLite reads so many in a moment."""
MOST_AHEAD_TOGETHER = 64 * MIB
"""Octets that all sessions together may hold ahead."""
_FARTHEST = 4 * NEXT_READ
_NONE = -1
"""No message."""


class MessageGone(Exception):
    """Another client of the same user has removed the message meanwhile."""


class AheadRoom:
    """
    The memory for bodies read ahead, shared by all sessions.

    Args:
        octets: How much there is.
    """

    __slots__ = ("free",)

    def __init__(self, octets: int = MOST_AHEAD_TOGETHER) -> None:
        self.free = octets
        """Octets that nobody has; whoever takes some must give them back."""


class Bodies:
    """
    The bodies of one maildrop; a client mostly asks for one beside the other.

    Messages are named by their index, from 0. They are read ahead in the direction in which
    the client goes: upwards, or downwards where it fetches the newest ones first.

    Args:
        maildrops: Where they are.
        snapshot: Which they are.
        room: The memory that may be used ahead of the client.
    """

    __slots__ = (
        "_ahead",
        "_end",
        "_held",
        "_last",
        "_maildrops",
        "_ready",
        "_ready_for",
        "_room",
        "_snapshot",
        "_start",
        "_step",
        "_used",
    )

    _log = Logger()

    def __init__(self, maildrops: IMaildrops, snapshot: Snapshot, room: AheadRoom) -> None:
        self._maildrops = maildrops
        self._snapshot = snapshot
        self._room = room
        self._ahead: dict[int, bytes | None] = {}
        self._held = 0
        self._used = False
        self._start = 0
        self._end = -NEXT_READ
        self._step = 1
        self._last = self._ready_for = _NONE
        self._ready = b""

    def reply(self, index: int) -> bytes | None:
        """Give the reply to RETR, if the body was read ahead; None: ask for the ``whole``."""
        body = self._ahead.get(index)
        if body is None:
            return None
        self._let_go(index, body)
        self._last = index
        if index == self._ready_for:
            return self._take_ready()
        return ok_message(self._snapshot.octets[index], body)

    def look_ahead(self, unwanted: Container[int]) -> None:
        """
        Make ready what will be asked for next, while the client reads what it has got.

        Only behind ``reply``: who wants the top of each message has no use for it.

        Args:
            unwanted: As in ``whole``.
        """
        last, self._last = self._last, _NONE
        index = last + self._step
        if last == _NONE or index >= len(self._snapshot) or index in unwanted:
            return
        try:
            if index not in self._ahead and index == self._end >= 0:
                self._read_now(index, unwanted)
            body, room = self._ahead.get(index), self._room
            if body is not None and len(body) <= room.free:
                self._take_ready()
                ready = ok_message(self._snapshot.octets[index], body)
                if len(ready) <= room.free:
                    self._ready, self._ready_for = ready, index
                    room.free -= len(ready)
        except Exception:  # noqa: BLE001 - logged; the client has its reply and goes on
            self._log.failure("reading ahead failed")

    def _take_ready(self) -> bytes:
        """Give away what was made ready; it does not count any more."""
        ready, self._ready, self._ready_for = self._ready, b"", _NONE
        self._room.free += len(ready)
        return ready

    async def whole(
        self, index: int, unwanted: Container[int], *, keep: bool = False
    ) -> bytes | None:
        """
        Fetch a body that is stored in one piece.

        Args:
            index: Which.
            unwanted: What need not be read ahead.
            keep: Whether it will probably be asked for again: RETR often follows TOP.

        Returns:
            None: it is stored in chunks.

        Raises:
            MessageGone: It is no longer stored.
            MailError: The database does not answer.
        """
        self._used = True
        if index not in self._ahead:
            await self._read(index, unwanted)
        try:
            body = self._ahead[index]
        except KeyError:
            raise MessageGone from None
        if not keep or self._held > MOST_AHEAD or self._room.free < 0:
            self._let_go(index, body or b"")
        return body

    async def chunks(self, index: int) -> AsyncIterator[bytes]:
        """
        Fetch a body that is stored in chunks, one after the other; errors as in ``whole``.

        An error comes in place of the octets that are missing: a part is never taken for
        the whole.
        """
        message, left = MessageId(self._snapshot.messages[index]), self._snapshot.octets[index]
        number = 0
        while left > 0:
            chunk = await self._maildrops.read_chunk(message, number)
            if not chunk:
                raise MessageGone
            yield chunk
            left -= len(chunk)
            number += 1

    def forget_unused(self) -> None:
        """Give the memory back if nobody has asked for a body since the last call."""
        if not self._used:
            self.forget()
        self._used = False

    def forget(self) -> None:
        """Give the memory back."""
        self._ahead.clear()
        self._room.free += self._held
        self._held = 0
        self._take_ready()

    async def _read(self, index: int, unwanted: Container[int]) -> None:
        self.forget()
        wanted = self._choose(index, unwanted)
        messages, octets = self._named(wanted)
        self._room.free -= octets
        try:
            found = await self._maildrops.read(messages, octets)
        finally:
            self._room.free += octets
        self._keep(wanted, messages, found)

    def _read_now(self, index: int, unwanted: Container[int]) -> None:
        """Read, where there is room and that is a matter of a moment."""
        if self._snapshot.octets[index] > self._room.free:
            return
        wanted = self._choose(index, unwanted)
        messages, octets = self._named(wanted)
        found = self._maildrops.glance(messages, octets)
        if found is not None:
            self._keep(wanted, messages, found)

    def _named(self, wanted: Sequence[int]) -> tuple[list[MessageId], int]:
        """Give the numbers of messages, and their octets together."""
        messages, octets = self._snapshot.messages, self._snapshot.octets
        return [MessageId(messages[one]) for one in wanted], sum(octets[one] for one in wanted)

    def _keep(
        self,
        wanted: Sequence[int],
        messages: Sequence[MessageId],
        found: Mapping[MessageId, bytes | None],
    ) -> None:
        self.forget()
        self._start, self._end = wanted[0], wanted[-1] + self._step
        pairs = zip(wanted, messages, strict=True)
        self._ahead = {one: found[message] for one, message in pairs if message in found}
        self._held = sum(len(body) for body in self._ahead.values() if body is not None)
        self._room.free -= self._held

    def _choose(self, index: int, unwanted: Container[int]) -> list[int]:
        """Choose what to read together with *index*."""
        most = NEXT_READ
        if not 0 <= (index - self._end) * self._step < NEXT_READ:
            most = FIRST_READ
            self._step = -1 if index == self._start - 1 else 1
        octets, chosen, left = self._snapshot.octets, [index], min(MOST_AHEAD, self._room.free)
        left -= octets[index]
        farthest = max(-1, min(len(octets), index + self._step * _FARTHEST))
        for one in range(index + self._step, farthest, self._step):
            if one in unwanted:
                continue
            left -= octets[one]
            if left < 0 or len(chosen) == most:
                break
            chosen.append(one)
        return chosen

    def _let_go(self, index: int, body: bytes) -> None:
        """Give a body away."""
        del self._ahead[index]
        octets = len(body)
        self._held -= octets
        self._room.free += octets
        self._used = True
