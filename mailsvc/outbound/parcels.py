"""What is sent in one transaction of SMTP, and its content."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailsvc.model.address import parse_address
from mailsvc.model.envelope import Notify, Return
from mailsvc.model.outgoing import Outgoing, OutgoingRecipient
from mailsvc.model.queued import Letter, Queued
from mailsvc.outbound.client import MOST_RECIPIENTS
from mailsvc.store.database import Database
from mailsvc.store.maildrop import read_bodies, read_chunk


@dataclass(slots=True)
class Parcel:
    """A message with recipients that go one way and have one sender."""

    rows: tuple[Queued, ...]
    letter: Letter


class LetterReader:
    """
    Reads what is sent.

    Args:
        database: Where it is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def describe(self, parcel: Parcel) -> Outgoing:
        """Tell what a server hears of it before its content; large ones are read for that."""
        row, letter = parcel.rows[0], parcel.letter
        eight_bit, utf8 = await self._look(parcel)
        return Outgoing(
            sender=parse_address(row.sender, utf8=True) if row.sender else None,
            recipients=tuple(_recipient(one) for one in parcel.rows),
            octets=letter.octets - letter.skip,
            eight_bit=eight_bit,
            utf8=utf8,
            returns=Return(row.returns) if row.returns else None,
            identifier=row.identifier,
            require_tls=row.require_tls,
            deliver_by=row.deliver_by,
        )

    async def pieces(self, parcel: Parcel) -> AsyncIterator[bytes]:
        """Give the content without Return-Path."""
        number, letter = parcel.rows[0].message, parcel.letter
        body = letter.body
        if body is None:
            found = await self._database.run(read_bodies, (number,))
            body = found.get(number)
        if body is not None:
            yield body[letter.skip :]
            return
        skip, index = letter.skip, 0
        while (piece := await self._database.run(read_chunk, number, index)) is not None:
            yield piece[skip:]
            skip, index = 0, index + 1

    async def _look(self, parcel: Parcel) -> tuple[bool, bool]:
        """Tell whether there are octets above 127: anywhere, and in the header."""
        if parcel.letter.body is not None and parcel.letter.body.isascii():
            return False, False
        start = b""
        async for piece in self.pieces(parcel):
            start = start or piece
            if not piece.isascii():
                return True, not start.partition(b"\r\n\r\n")[0].isascii()
        return False, False


def make_parcels(rows: Sequence[Queued], letters: Mapping[int, Letter]) -> list[Parcel]:
    """Put together what can be sent in one transaction."""
    groups: dict[Any, list[Queued]] = {}
    for row in rows:
        if row.message in letters:
            key = (row.message, row.sender, row.returns, row.identifier)
            groups.setdefault(key, []).append(row)
    return [
        Parcel(tuple(some[start : start + MOST_RECIPIENTS]), letters[some[0].message])
        for some in groups.values()
        for start in range(0, len(some), MOST_RECIPIENTS)
    ]


def _recipient(row: Queued) -> OutgoingRecipient:
    notify = frozenset(Notify(one) for one in row.notify.split(",") if one)
    return OutgoingRecipient(parse_address(row.recipient, utf8=True), notify, row.original)
