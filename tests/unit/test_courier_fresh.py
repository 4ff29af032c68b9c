"""Mail that leaves while its content is still in memory: nobody reads it again."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailsvc.config.settings import OutboundSettings
from mailsvc.model.ids import MessageId
from mailsvc.model.outgoing import Fate, Outcome
from mailsvc.model.queued import Attempted, Letter, Queued
from mailsvc.model.status import Status
from mailsvc.outbound.connection import Connected, Unreachable
from mailsvc.outbound.courier import (
    CLAIM,
    LEASE,
    MOST_FRESH,
    MOST_FRESH_OF_LANE,
    MOST_OCTETS,
    Courier,
)
from mailsvc.store.queue import claim, give_back, postpone, renew
from tests.support.control_office import finish

NOW = datetime.now(UTC)


def row(number: int, domain: str = "far.example") -> Queued:
    """Make a recipient."""
    return Queued(
        id=number,
        message=MessageId(number),
        sender="alice@test.com",
        recipient=f"bob@{domain}",
        domain=domain,
        attempts=0,
        expires=NOW + timedelta(days=5),
        created=NOW,
    )


LETTER = Letter(5, 0, b"hi\r\n\n")


class PaperDatabase:
    """Has rows that are due, and keeps what became of all."""

    def __init__(self, due: Sequence[Queued] = ()) -> None:
        self.due = list(due)
        self.done: list[Attempted] = []
        self.read: list[int] = []
        self.given_back: list[int] = []
        self.put_off: list[int] = []
        self.busy: Deferred[None] | None = None

    async def write(self, question: Callable[..., Any], *arguments: Any) -> Any:
        """Let rows be taken or given back."""
        if question is give_back:
            self.given_back += arguments[1]
            return None
        if question is postpone:
            self.put_off += arguments[1]
            return None
        if question is renew:
            return set(arguments[1])
        assert question is claim
        most = arguments[2]
        found, self.due = self.due[:most], self.due[most:]
        return found

    async def run(self, _: object, numbers: Sequence[int], *__: object) -> dict[int, Letter]:
        """Read messages."""
        self.read += numbers
        return dict.fromkeys(numbers, LETTER)

    async def write_batch(self, _: object, item: Attempted, *, shard: int) -> None:
        """Take an attempt down, when nothing is in the way."""
        del shard
        if self.busy is not None:
            await self.busy
        self.done.append(item)

    def settled(self) -> list[int]:
        """List the rows of attempts that were taken down."""
        return sorted(row.id for one in self.done for row, _ in one.pairs)


class PaperConversation:
    """Takes everything."""

    usable = True
    transcript: Any = None

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def send(self, mail: Any, pieces: Callable[[], Any]) -> tuple[Fate, ...]:
        """Take a message."""
        self.sent.append(b"".join([piece async for piece in pieces()]))
        return (Fate(Outcome.DONE, Status(2, 0, 0), "250 OK"),) * len(mail.recipients)

    async def quit(self) -> None:
        """End."""
        self.usable = False


class PaperConnector:
    """Connects when the test lets it, or not at all."""

    def __init__(self) -> None:
        self.talk: Any = PaperConversation()
        self.waiting: list[Deferred[Connected]] = []

    async def connect(self, *_: object) -> Connected:
        """Wait for the test."""
        waiting: Deferred[Connected] = Deferred()
        self.waiting.append(waiting)
        return await waiting

    def open(self) -> None:
        """Let one in."""
        self.talk.usable = True
        self.waiting.pop(0).callback(Connected(self.talk, "mx.far.example", ""))

    def refuse(self) -> None:
        """Let nobody in."""
        self.waiting.pop(0).errback(Unreachable("nobody is there", Status(4, 4, 1)))


class Office:
    """A courier that runs."""

    def __init__(self, due: Sequence[Queued] = ()) -> None:
        database: Any = PaperDatabase(due)
        connector: Any = PaperConnector()
        settle: Any = object
        self.clock, self.now = Clock(), NOW
        self.database, self.connector = database, connector
        self.courier = Courier(
            database,
            connector,
            settle,
            OutboundSettings(host_connections=1),
            self.clock,
            7,
            lambda: self.now,
        )
        self.courier.running = True

    def hand_over(self, *rows: Queued, octets: int = 5) -> bool:
        """Reserve and hand over, as the intake does; False: it was not wanted."""
        if self.courier.reserve(rows, octets) is None:
            return False
        self.courier.take_fresh(rows, LETTER)
        return True


@pytest.fixture
def office() -> Office:
    """Give a courier that has looked into an empty queue."""
    made = Office()
    finish(made.courier.round())
    return made


def test_fresh_mail_leaves_without_being_read(office: Office) -> None:
    """It goes as it was accepted, and what became of it is written down."""
    lease = office.courier.reserve([row(1)], 5)
    office.courier.take_fresh([row(1)], LETTER)
    office.connector.open()

    assert lease == (7, NOW + LEASE)
    assert office.connector.talk.sent == [b"hi\r\n\n"]
    [(done, settled)] = office.database.done[0].pairs
    assert (done.id, settled.outcome) == (1, Outcome.DONE)
    assert office.database.read == []


def test_nothing_is_taken_before_the_first_look() -> None:
    """Mail from before the start goes first."""
    office = Office()

    assert not office.hand_over(row(1))


def test_fresh_mail_overtakes_nobody() -> None:
    """While more waits in the database than was taken, new mail stands behind it."""
    office = Office([row(number) for number in range(1000, 1000 + 2 * CLAIM + 1)])
    assert office.courier.reserve([row(1, "other.example")], 5) is None

    finish(office.courier.round())

    assert office.database.due == []
    assert office.hand_over(row(1, "other.example"))


@pytest.mark.parametrize(
    ("count", "octets"),
    [(MOST_FRESH_OF_LANE, 5), (2, MOST_OCTETS // 2 + 1)],
)
def test_what_is_in_hand_is_bounded(office: Office, count: int, octets: int) -> None:
    """One slow server fills neither the courier nor the memory; then the queue is asked again."""
    taken = [office.hand_over(row(number), octets=octets) for number in range(1, count + 2)]

    assert taken[0]
    assert not taken[-1]
    while office.connector.waiting:
        office.connector.open()
    assert not office.hand_over(row(9000)), "it would overtake the refused one"
    finish(office.courier.round())
    assert office.hand_over(row(9001))


def test_a_message_to_very_many_waits_in_the_database(office: Office) -> None:
    """It would fill the courier."""
    rows = [row(number, f"far{number}.example") for number in range(MOST_FRESH + 1)]

    assert office.courier.reserve(rows, 5) is None


def test_mail_for_a_server_that_is_away_waits(office: Office) -> None:
    """It shares the time of the others, and other mail goes on."""
    assert office.hand_over(row(1))
    office.connector.refuse()

    assert not office.hand_over(row(2))
    assert office.hand_over(row(3, "other.example"))


def test_what_was_not_stored_gives_its_place_back(office: Office) -> None:
    """However often a commit fails."""
    for _ in range(3):
        rows = [row(1)]
        assert office.courier.reserve(rows, MOST_OCTETS) is not None
        office.courier.give_up(rows, MOST_OCTETS)


def test_what_has_left_gives_its_memory_back(office: Office) -> None:
    """Message after message."""
    half = MOST_OCTETS // 2 + 1
    for number in (1, 2, 3):
        one = row(number)
        assert office.courier.reserve([one], half) is not None
        office.courier.take_fresh([one], Letter(half, 0, b"x"))
        if number == 1:
            office.connector.open()
        assert len(office.connector.talk.sent) == number


def test_nothing_is_taken_while_it_stops(office: Office) -> None:
    """What was not begun goes back to the database."""
    assert office.hand_over(row(1), row(2))

    office.courier.running = False
    assert not office.hand_over(row(3))
    finish(office.courier.stop(1.0))

    assert sorted(office.database.given_back) == [1, 2]


def test_mail_that_comes_while_a_server_is_given_up_is_not_left_behind(office: Office) -> None:
    """A slow disk, and a short wait for the next attempt: all of it is tried again."""
    assert office.hand_over(row(1))
    busy: Deferred[None] = Deferred()
    office.database.busy = busy
    office.connector.refuse()
    office.now += timedelta(hours=1)  # the wait is over before the attempt is written down
    office.database.due = [row(number) for number in (2, 3)]
    finish(office.courier.round())

    office.database.busy = None
    busy.callback(None)
    while office.connector.waiting:
        office.connector.open()

    sent = len(office.connector.talk.sent)
    assert office.database.settled() == [1, 2, 3]
    assert sent in {0, 2}, "they share the attempt, or have one of their own"


def test_an_attempt_of_many_is_written_down_together(office: Office) -> None:
    """One commit after the other would keep the server's mail back for minutes."""
    for number in (1, 2, 3):
        assert office.hand_over(row(number))
    busy: Deferred[None] = Deferred()
    office.database.busy = busy
    asked: list[int] = []
    office.database.write_batch = _counting(office.database.write_batch, asked)

    office.connector.refuse()

    assert len(asked) == 3
    busy.callback(None)
    assert office.database.settled() == [1, 2, 3]


def _counting(write: Callable[..., Any], asked: list[int]) -> Callable[..., Any]:
    async def counted(question: object, item: Attempted, *, shard: int) -> None:
        asked.append(shard)
        await write(question, item, shard=shard)

    return counted


def test_what_was_stored_while_its_server_was_given_up_waits(office: Office) -> None:
    """Its place was reserved before; nobody connects again for it."""
    assert office.hand_over(row(1))
    assert office.courier.reserve([row(2)], 5) is not None
    office.connector.refuse()

    office.courier.take_fresh([row(2)], LETTER)

    assert office.database.put_off == [2]
    assert office.connector.waiting == []
