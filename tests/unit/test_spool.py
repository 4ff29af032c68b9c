"""Messages in arrival: the same octets come back, and memory is given back."""

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from mailsvc.config.settings import SpoolSettings
from mailsvc.config.units import MIB
from mailsvc.interfaces import IContent
from mailsvc.spool import LOOK_EVERY, LOOK_PAUSE, PLENTY, WORTH_KEEPING, Spool, SpoolRoom


def make_room(folder: Path, message: int = 100, total: int = 250) -> SpoolRoom:
    """Make a room."""
    return SpoolRoom(folder, SpoolSettings(message_memory=message, total_memory=total))


@pytest.fixture
def room(tmp_path: Path) -> SpoolRoom:
    """Give a room for 250 octets, 100 a message."""
    return make_room(tmp_path)


@contextmanager
def files_up_to(octets: int) -> Iterator[None]:
    """Make every larger file fail as on a full disk: the last write before takes a part only."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def whole(spool: Spool, size: int = 7) -> bytes:
    """Read everything."""
    return b"".join(spool.pieces(size))


def read_all(room: SpoolRoom, pieces: list[bytes], sizes: list[int]) -> None:
    """Write pieces and read them in every size, more than once."""
    written = b"".join(pieces)
    spool = Spool(room)
    for piece in pieces:
        spool.write(piece)
    assert spool.octets == len(written)
    for size in sizes:
        read = list(spool.pieces(size))
        assert b"".join(read) == written
        assert all(len(one) == size for one in read[:-1])
        assert spool.head(size) == written[:size]
    spool.close()
    assert room.used == 0


@given(
    pieces=st.lists(st.binary(max_size=60), max_size=8),
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=3),
)
def test_the_same_octets_come_back(pieces: list[bytes], sizes: list[int]) -> None:
    """However they came, wherever they were kept, in whatever pieces they are read."""
    with TemporaryDirectory() as folder:
        for message in (1, 20, 1000):
            read_all(make_room(Path(folder), message, total=1000), pieces, sizes)


def test_it_keeps_its_promise_as_content(room: SpoolRoom) -> None:
    """It is what the rest of the service reads; empty at first."""
    spool = Spool(room)

    verifyObject(IContent, spool)
    assert (spool.octets, whole(spool), spool.head(10)) == (0, b"", b"")


def test_a_small_message_stays_in_memory() -> None:
    """Most mail never sees the disk before its commit."""
    spool = Spool(make_room(Path("/there/is/no/such/folder")))

    spool.write(b"x" * 100)

    assert whole(spool) == b"x" * 100


def test_who_reads_it_again_gets_the_same_pieces(tmp_path: Path) -> None:
    """A message of megabytes is put together once, not for its digest and again for its rows."""
    spool = Spool(make_room(tmp_path, message=8 * MIB, total=8 * MIB))
    for number in range(9):
        spool.write(bytes([number]) * 50_000)

    first, again = list(spool.pieces(WORTH_KEEPING)), list(spool.pieces(WORTH_KEEPING))

    assert [len(piece) for piece in first] == [WORTH_KEEPING] * 6 + [450_000 - 6 * WORTH_KEEPING]
    assert all(one is other for one, other in zip(first[:-1], again[:-1], strict=True))
    assert first == again


def test_a_large_message_gives_its_memory_to_others(room: SpoolRoom) -> None:
    """Beyond its share it goes to a file without a name, which dies with the process."""
    spool = Spool(room)
    spool.write(b"x" * 100)
    assert room.used == 100

    spool.write(b"y")

    assert room.used == 0
    assert list(room.folder.iterdir()) == []
    assert whole(spool) == b"x" * 100 + b"y"
    spool.close()


def test_all_messages_share_one_budget(room: SpoolRoom) -> None:
    """A crowd of small messages fills the disk, not the memory."""
    spools = [Spool(room) for _ in range(4)]
    for number, spool in enumerate(spools):
        spool.write(bytes([number]) * 80)

    assert room.used == 240
    assert [whole(spool) for spool in spools] == [bytes([number]) * 80 for number in range(4)]

    spools[0].close()
    spools[0].close()
    assert room.used == 160
    late = Spool(room)
    late.write(b"z" * 80)
    assert room.used == 240
    for spool in (*spools, late):
        spool.close()
    assert room.used == 0


@pytest.mark.parametrize("in_memory", [50, 90])
def test_a_full_disk_is_told(room: SpoolRoom, in_memory: int) -> None:
    """The session answers 452; nothing is kept and nothing is reserved."""
    spool = Spool(room)
    spool.write(b"x" * in_memory)

    with files_up_to(150):
        spool.write(b"y" * 60)
        with pytest.raises(OSError, match="File too large") as told:
            spool.write(b"y" * 100)

    assert told.value.errno == errno.EFBIG
    spool.close()
    assert room.used == 0


def test_a_message_is_never_cut_silently(room: SpoolRoom) -> None:
    """The last write before the disk is full takes a part, and the rest is not forgotten."""
    spool = Spool(room)

    with files_up_to(150), pytest.raises(OSError, match="File too large"):
        spool.write(b"z" * 200)

    spool.close()


def test_a_folder_that_is_gone_is_told() -> None:
    """Whoever removes the state folder loses no mail silently."""
    spool = Spool(make_room(Path("/there/is/no/such/folder")))
    spool.write(b"x" * 90)

    with pytest.raises(FileNotFoundError):
        spool.write(b"y" * 90)

    spool.close()


def test_a_message_in_arrival_leaves_the_spare_disk_alone(tmp_path: Path) -> None:
    """Senders who never come to an end cannot fill the disk that users need."""
    settings = SpoolSettings(message_memory=100, total_memory=250, spare_disk=1 << 60)
    spool = Spool(SpoolRoom(tmp_path, settings))
    spool.write(b"x" * 100)

    with pytest.raises(OSError, match="spare") as caught:
        spool.write(b"x")

    spool.close()
    assert caught.value.errno == errno.ENOSPC


def test_the_disk_is_looked_at_again_while_a_message_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many messages at once begin while there is room."""
    room = make_room(tmp_path)
    monkeypatch.setattr(room, "_spare", 0)
    spool = Spool(room)
    spool.write(b"x" * 1000)
    monkeypatch.setattr(room, "_spare", 1 << 60)

    spool.write(b"x" * (LOOK_EVERY - 1))
    with pytest.raises(OSError, match="spare"):
        spool.write(b"x")

    spool.close()


class Disk:
    """A disk that is looked at, and the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, spare: int = 0) -> None:
        self.free = 0
        self.looks = 0
        self.now = 1000.0
        monkeypatch.setattr("mailsvc.spool.os", SimpleNamespace(statvfs=self._look))
        monkeypatch.setattr("mailsvc.spool.time", SimpleNamespace(monotonic=lambda: self.now))
        self.room = SpoolRoom(Path("/state"), SpoolSettings(spare_disk=spare))

    def _look(self, place: str) -> SimpleNamespace:
        assert place == "/state"
        self.looks += 1
        return SimpleNamespace(f_bavail=self.free, f_frsize=1)


class TestRoom:
    """Whether there is room for one more message."""

    def test_a_disk_with_plenty_is_looked_at_now_and_then(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not for each message."""
        disk = Disk(monkeypatch, spare=MIB)
        disk.free = PLENTY + 2 * MIB

        assert all(disk.room.has_room(MIB) for _ in range(10))
        assert disk.looks == 1
        disk.now += LOOK_PAUSE
        assert all(disk.room.has_room(MIB) for _ in range(10))

        assert disk.looks == 2

    def test_a_short_disk_is_looked_at_each_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What users remove helps at once, and what others send counts at once."""
        disk = Disk(monkeypatch, spare=MIB)
        disk.free = MIB
        assert disk.room.has_room()
        assert not disk.room.has_room(1)

        disk.free += 1
        assert disk.room.has_room(1)
        disk.free -= 2

        assert not disk.room.has_room()
        assert disk.looks == 4

    def test_a_large_message_is_worth_a_look(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It may not fit though others do."""
        disk = Disk(monkeypatch)
        disk.free = 2 * PLENTY
        assert disk.room.has_room()
        disk.free = PLENTY

        assert not disk.room.has_room(PLENTY + 1)

        assert disk.looks == 2

    def test_more_to_spare_counts_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An administrator who changes it does not wait."""
        disk = Disk(monkeypatch)
        disk.free = 2 * PLENTY
        assert disk.room.has_room()

        disk.room.use(SpoolSettings(spare_disk=2 * PLENTY + 1))

        assert not disk.room.has_room()

    @given(
        free=st.integers(0, 4 * PLENTY),
        spare=st.integers(0, 2 * PLENTY),
        steps=st.lists(
            st.tuples(
                st.floats(0, 1.5),
                st.floats(0, 0.99),
                st.integers(0, MIB) | st.integers(0, 2 * PLENTY),
            ),
            max_size=20,
        ),
    )
    def test_it_never_promises_what_is_not_there(
        self, free: int, spare: int, steps: list[tuple[float, float, int]]
    ) -> None:
        """However fast the disk fills, up to what no disk can."""
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, spare)
            disk.free = free
            for pauses, speed, octets in steps:
                disk.now += pauses * LOOK_PAUSE
                disk.free = max(0, disk.free - int(pauses * speed * PLENTY))

                if disk.room.has_room(octets):
                    assert disk.free - octets >= spare
                else:
                    assert disk.free - octets < spare
