"""A process and a thread write one file: in turn, and each alone when the other cannot."""

import pickle
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select
from twisted.internet.defer import Deferred

from mailsvc.config.settings import DatabaseSettings
from mailsvc.errors import NotFound, StorageFailed, TooBusy
from mailsvc.model.ids import IdSource
from mailsvc.store.engine import Engines, open_engines
from mailsvc.store.portable import CALLS, Call, PortableQuery, Recipe, portable
from mailsvc.store.tables import domain
from mailsvc.store.transactions import Transactions
from mailsvc.store.two_writers import BUSY, TwoWriters
from mailsvc.store.writer import Writer
from mailsvc.store.writer_main import Kitchen
from mailsvc.store.writer_process import HEAD, Batch, frame
from tests.support.mail_store import NOON
from tests.support.pump import PATIENCE, Pump


class Note(PortableQuery):
    """Writes a row for each number: those below 100 are portable, odd ones above 50 are refused."""

    @property
    def recipe(self) -> Recipe:
        """Makes it again."""
        return make_note

    def parcel(self, item: int) -> int | None:
        """Give small ones."""
        return item if item < 100 else None

    def __call__(self, connection: Connection, items: Sequence[int]) -> Sequence[Any]:
        """Write them."""
        right = [item for item in items if not is_refused(item)]
        if right:
            connection.execute(
                insert(domain),
                [
                    {"id": one, "name": f"{one}.test", "enabled": True, "created": NOON}
                    for one in right
                ],
            )
        return [NotFound("refused") if is_refused(item) else -item for item in items]


def is_refused(item: int) -> bool:
    """Choose some."""
    return 50 < item < 100 and item % 2 == 1


def make_note(_: IdSource) -> Note:
    """Make the query."""
    return Note()


NOTE = Note()


class NearProcess:
    """What the other process does, done here when the test lets it; all goes through pickle."""

    def __init__(self, url: str) -> None:
        self.ready = False
        self.asked: list[tuple[Batch, Deferred[list[Any]]]] = []
        self.stopped = False
        self._kitchen = Kitchen(IdSource(1, second=True))
        self._engines = open_engines(url, 1, 1)
        self._transactions = Transactions(self._engines.write, lambda what, error: (what, error))

    def start(self) -> None:
        """Be there."""
        assert not self.ready
        self.ready = True

    def write(self, batch: Batch) -> "Deferred[list[Any]]":
        """Take one."""
        assert not self.asked, "one at a time"
        answer: Deferred[list[Any]] = Deferred()
        self.asked.append((pickle.loads(frame(batch)[HEAD:]), answer))  # noqa: S301 - our own
        return answer

    def land(self) -> None:
        """Commit what was asked for, and answer."""
        batch, answer = self.asked.pop()
        answers = self._transactions.commit(self._kitchen.jobs(batch))
        answer.callback(pickle.loads(pickle.dumps(answers)))  # noqa: S301 - our own

    def die(self) -> None:
        """End before the answer."""
        self.ready = False
        _, answer = self.asked.pop()
        answer.errback(StorageFailed())

    async def stop(self) -> None:
        """End in order."""
        assert not self.asked
        self.stopped = True


class Desk:
    """Two writers of one file."""

    def __init__(self, url: str, engines: Engines, settings: DatabaseSettings) -> None:
        self.pump = pump = Pump()
        self.now = 0.0
        process: Any = NearProcess(url)
        self.process = process
        self._engines = engines
        thread = Writer(engines.write, settings, pump.callFromThread)
        self.writers = TwoWriters(thread, process, settings, lambda: self.now)
        self.writers.start()

    def note(self, number: int) -> Any:
        """Write one number."""
        return self.pump.start(self.writers.submit(NOTE, number))

    def finish(self) -> None:
        """Let both write until nothing waits."""
        deadline = time.monotonic() + PATIENCE
        while self.writers.waiting:
            if self.process.asked:
                self.process.land()
            else:
                self.pump.turn(deadline)

    def numbers(self) -> list[int]:
        """List what is there."""
        with self._engines.read.begin() as connection:
            return list(connection.scalars(select(domain.c.id).order_by(domain.c.id)))


@pytest.fixture
def desk(database_url: str, engines: Engines) -> Iterator[Desk]:
    """Give a desk with small transactions."""
    settings = DatabaseSettings(batch_messages=3, waiting_messages=6, writer_process=True)
    made = Desk(database_url, engines, settings)
    yield made
    made.writers.stop()


pytestmark = pytest.mark.parametrize("kind", ["sqlite"])


def test_what_waits_shares_a_transaction_of_the_process(desk: Desk) -> None:
    """The first goes at once; those behind it go together, up to the limit."""
    waiting = [desk.note(number) for number in range(1, 6)]

    sizes = []
    while desk.process.asked:
        sizes.append(len(desk.process.asked[0][0].jobs))
        desk.process.land()

    assert sizes == [1, 3, 1]
    assert [one.result() for one in waiting] == [-1, -2, -3, -4, -5]
    assert desk.numbers() == [1, 2, 3, 4, 5]
    assert desk.writers.waiting == 0


def test_an_error_comes_to_whom_it_belongs(desk: Desk) -> None:
    """Refused by the other process, told here."""
    waiting = [desk.note(number) for number in (2, 51, 52)]
    while desk.process.asked:
        desk.process.land()

    with pytest.raises(NotFound, match="refused"):
        waiting[1].result()
    assert [waiting[0].result(), waiting[2].result()] == [-2, -52]


def test_they_take_turns(desk: Desk) -> None:
    """Neither waits for SQLite's lock, and neither waits for ever."""
    first, large, second = desk.note(1), desk.note(100), desk.note(2)
    desk.process.land()
    third = desk.note(3)
    assert not large, "the thread must not write while the process does"

    desk.process.land()
    assert not desk.process.asked, "and the other way round"
    assert large.result() == -100
    desk.process.land()

    assert [first.result(), second.result(), third.result()] == [-1, -2, -3]
    assert desk.numbers() == [1, 2, 3, 100]


def test_what_cannot_travel_is_written_by_the_thread(desk: Desk) -> None:
    """A large message, and a query that was not marked."""

    def change(connection: Connection) -> str:
        NOTE(connection, [7])
        return "changed"

    assert desk.note(100).result() == -100
    call = desk.writers.submit(CALLS, Call(change, (), {}))
    assert desk.pump.finish(call) == "changed"
    assert not desk.process.asked


@portable
def rename(connection: Connection, number: int, *, name: str) -> str:
    """Change a row; another process may do it."""
    connection.execute(domain.update().where(domain.c.id == number).values(name=name))
    return name


def test_a_marked_query_travels_with_its_arguments(desk: Desk) -> None:
    """And its result comes back."""
    waiting = desk.pump.start(desk.writers.submit(CALLS, Call(rename, (1,), {"name": "x.test"})))
    desk.process.land()

    assert waiting.result() == "x.test"


def test_the_thread_writes_while_there_is_no_process(desk: Desk) -> None:
    """Half a second at the start, and whenever it has ended."""
    desk.process.ready = False

    waiting = [desk.note(number) for number in (1, 2, 3)]

    assert [one.result() for one in waiting] == [-1, -2, -3]


def test_what_was_under_way_when_it_ended_is_written_here(desk: Desk) -> None:
    """What it has not written is written first, then what waited."""
    lost, waiting = desk.note(1), desk.note(2)

    desk.process.die()

    assert lost.result() == -1
    assert waiting.result() == -2
    assert desk.numbers() == [1, 2]


def test_too_much_is_refused_at_once(desk: Desk) -> None:
    """Both queues count together."""
    waiting = [desk.note(number) for number in (1, 2, 3, 100, 101, 4)]
    with pytest.raises(TooBusy):
        _ = desk.writers.submit(NOTE, 5)

    desk.finish()
    assert [one.result() for one in waiting] == [-1, -2, -3, -100, -101, -4]
    assert desk.writers.waiting == 0


def test_who_gave_up_waiting_disturbs_nobody(desk: Desk) -> None:
    """A session that is thrown out takes no other's answer along."""
    first, second = desk.note(1), desk.note(2)
    first.answer.cancel()
    second.answer.cancel()
    third = desk.note(3)
    while desk.process.asked:
        desk.process.land()

    assert third.result() == -3


def test_there_is_no_process_before_there_is_much_to_write(
    database_url: str, engines: Engines
) -> None:
    """It takes memory, and the start some time; few items may come for ever."""
    desk = Desk(database_url, engines, DatabaseSettings())
    for number in range(3 * BUSY):
        desk.now += 1.1 / BUSY
        desk.note(100 + number)
    assert not desk.process.ready
    desk.finish()

    desk.now += 2
    for number in range(BUSY - 1):
        desk.note(1000 + number)
    assert not desk.process.ready
    desk.note(2000)
    assert desk.process.ready
    desk.note(2001)
    desk.finish()

    assert len(desk.numbers()) == 4 * BUSY + 1
    desk.writers.stop()


def test_no_process_is_started_for_the_end(database_url: str, engines: Engines) -> None:
    """What is written while the daemon stops is the thread's."""
    desk = Desk(database_url, engines, DatabaseSettings())
    desk.pump.start(desk.writers.rest()).result()

    for number in range(2 * BUSY):
        desk.note(100 + number)
    desk.finish()

    assert not desk.process.ready
    assert len(desk.numbers()) == 2 * BUSY
    desk.writers.stop()


def test_it_rests_when_all_is_committed(desk: Desk) -> None:
    """Then the process ends; what comes later is the thread's."""
    waiting = [desk.note(number) for number in (1, 2, 100)]
    resting = desk.pump.start(desk.writers.rest())
    assert not desk.process.stopped
    desk.finish()

    resting.result()
    assert desk.process.stopped
    assert [one.result() for one in waiting] == [-1, -2, -100]


def test_stopping_commits_all_that_waits(database_url: str, engines: Engines) -> None:
    """Also what waited for the process, when nobody can wait for that any more."""
    desk = Desk(database_url, engines, DatabaseSettings(writer_process=True))
    under_way, *waiting = [desk.note(number) for number in (1, 2, 3, 100)]

    desk.writers.stop()
    desk.pump.drain()

    assert [list(one) for one in waiting] == [[-2], [-3], [-100]]
    assert not under_way
    assert desk.numbers() == [2, 3, 100]
    with pytest.raises(StorageFailed):
        _ = desk.writers.submit(NOTE, 4)


class Unsendable(PortableQuery):
    """Says that it can travel, and cannot: a fault of ours."""

    @property
    def recipe(self) -> Recipe:
        """Give what no pickle takes."""
        return lambda _: NOTE

    def parcel(self, item: int) -> int:
        """Give it."""
        return item

    def __call__(self, connection: Connection, items: Sequence[int]) -> Sequence[Any]:
        """Write them."""
        return NOTE(connection, items)


def test_a_batch_that_cannot_be_sent_is_written_here(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own mistake costs nobody a message."""
    said: list[str] = []
    monkeypatch.setattr(
        TwoWriters, "_log", type("Log", (), {"failure": lambda _, text: said.append(text)})()
    )

    waiting = desk.pump.start(desk.writers.submit(Unsendable(), 9))

    assert waiting.result() == -9
    assert said == ["a batch could not be sent to the writer's process"]
