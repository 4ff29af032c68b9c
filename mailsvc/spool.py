"""Messages in arrival: small ones in memory, large ones in unlinked temporary files."""

import errno
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from zope.interface import implementer

from mailsvc.config.settings import SpoolSettings
from mailsvc.config.units import KIB, MIB
from mailsvc.interfaces import IContent

WORTH_KEEPING = 64 * KIB
"""Octets from which on pieces in memory are kept as somebody wanted them."""
LOOK_EVERY = MIB
"""Octets of a message in a file between two looks at what is left of the disk."""
PLENTY = 512 * MIB
"""Octets that no disk takes in the time between two looks."""
LOOK_PAUSE = 0.2
"""Seconds between two looks at a disk with plenty of room."""


class SpoolRoom:
    """
    The memory and the folder that all messages in arrival share.

    Args:
        folder: Where temporary files are made; they have no name and die with the process.
        settings: How much may stay in memory.
    """

    def __init__(self, folder: Path, settings: SpoolSettings) -> None:
        self.folder = folder
        self._place = str(folder)
        self._free = 0
        self._look_again = 0.0
        self._used = 0
        self.use(settings)

    def use(self, settings: SpoolSettings) -> None:
        """Hold to other limits from now on; what is in memory already stays there."""
        self.message_memory = settings.message_memory
        self._total = settings.total_memory
        self._spare = settings.spare_disk

    @property
    def used(self) -> int:
        """Octets in memory now."""
        return self._used

    def has_room(self, octets: int = 0) -> bool:
        """
        Whether so many octets more would leave enough of the disk free.

        While there is plenty, the disk is looked at a few times a second, not for each message.
        """
        now = time.monotonic()
        if now >= self._look_again or self._free - octets - self._spare < PLENTY:
            disk = os.statvfs(self._place)
            self._free = disk.f_bavail * disk.f_frsize
            self._look_again = now + LOOK_PAUSE
        return self._free - octets >= self._spare

    def reserve(self, octets: int) -> bool:
        """Take some memory; False: it is spent, use a file."""
        if self._used + octets > self._total:
            return False
        self._used += octets
        return True

    def give_back(self, octets: int) -> None:
        """Return what was reserved."""
        self._used -= octets


@implementer(IContent)
class Spool:
    """
    The content of one message, for all its recipients.

    Args:
        room: Whose memory and folder it uses.
    """

    __slots__ = ("_file", "_look_at", "_pieces", "_reserved", "_room", "octets")

    def __init__(self, room: SpoolRoom) -> None:
        self._room = room
        self._pieces: list[bytes] = []
        self._reserved = 0
        self._file: IO[bytes] | None = None
        self._look_at = 0
        self.octets = 0
        """Size in octets."""

    def write(self, piece: bytes) -> None:
        """
        Add to the end.

        Raises:
            OSError: The disk is full but for what is spared, or worse.
        """
        self.octets += len(piece)
        if self._file is not None:
            self._look_at_disk()
            _write_all(self._file, piece)
        elif self.octets <= self._room.message_memory and self._room.reserve(len(piece)):
            self._reserved += len(piece)
            self._pieces.append(piece)
        else:
            self._spill(piece)

    def head(self, limit: int) -> bytes:
        """Give at most the first *limit* octets."""
        if self._file is not None:
            return next(self.pieces(limit), b"")
        return next(_cut(self._pieces, limit), b"")

    def pieces(self, size: int) -> Iterator[bytes]:
        """Give everything from the start, *size* octets at a time."""
        if self._file is not None:
            self._file.seek(0)
            while piece := self._file.read(size):
                yield piece
            return
        if size >= WORTH_KEEPING:
            # It is read twice, for its digest and for the rows: the second time without a copy.
            self._pieces = list(_cut(self._pieces, size))
        yield from _cut(self._pieces, size)

    def close(self) -> None:
        """Give memory and disk back; harmless the second time."""
        self._room.give_back(self._reserved)
        self._reserved = 0
        self._pieces.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _spill(self, piece: bytes) -> None:
        """Move from memory to a file."""
        self._look_at_disk()
        file = TemporaryFile(dir=self._room.folder, buffering=0)  # noqa: SIM115 - closed by close
        self._file = file
        for part in (*self._pieces, piece):
            _write_all(file, part)
        self._room.give_back(self._reserved)
        self._reserved = 0
        self._pieces.clear()

    def _look_at_disk(self) -> None:
        """Refuse what would take the disk that is spared for users, whatever SIZE has said."""
        if self.octets < self._look_at:
            return
        self._look_at = self.octets + LOOK_EVERY
        if not self._room.has_room():
            raise OSError(errno.ENOSPC, "what is left of the disk is spared (spool.spare_disk)")


def _cut(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Cut octets anew, without a copy of the whole."""
    waiting: list[bytes] = []
    octets = 0
    for piece in pieces:
        waiting.append(piece)
        octets += len(piece)
        if octets >= size:
            block = b"".join(waiting) if len(waiting) > 1 else piece
            full = octets - octets % size
            for start in range(0, full, size):
                yield block[start : start + size]
            waiting = [block[full:]] if full < octets else []
            octets -= full
    if waiting:
        yield b"".join(waiting)


def _write_all(file: IO[bytes], octets: bytes) -> None:
    """Write everything: on a disk that has just become full, a write takes a part only."""
    left = memoryview(octets)
    while left:
        left = left[file.write(left) :]
