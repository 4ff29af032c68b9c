"""What the courier does when a part of it fails that should not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from mailsvc.config.settings import OutboundSettings
from mailsvc.model.ids import MessageId
from mailsvc.model.outgoing import Fate, Outcome
from mailsvc.model.queued import Attempted, Letter, Queued
from mailsvc.model.status import Status
from mailsvc.outbound.client import Broken
from mailsvc.outbound.connection import Connected
from mailsvc.outbound.courier import Courier
from mailsvc.outbound.lanes import Lane
from mailsvc.outbound.parcels import Parcel
from mailsvc.store.queue import claim
from tests.support.control_office import finish

NOW = datetime.now(UTC)
ROW = Queued(
    id=1,
    message=MessageId(1),
    sender="alice@test.com",
    recipient="bob@far.example",
    domain="far.example",
    attempts=0,
    expires=NOW + timedelta(days=5),
    created=NOW,
)


class PaperDatabase:
    """Has one row that is due, and keeps what became of it."""

    def __init__(self) -> None:
        self.due = [ROW]
        self.done: list[Attempted] = []

    async def write(self, question: Callable[..., Any], *_: object) -> Any:
        """Let the row be taken, once."""
        assert question is claim
        due, self.due = self.due, []
        return due

    async def run(self, *_: object) -> dict[int, Letter]:
        """Give the message."""
        return {1: Letter(3, 0, b"x\r\n")}

    async def write_batch(self, _: object, item: Attempted, *, shard: int) -> None:
        """Take an attempt down."""
        assert shard == 1
        self.done.append(item)


class BrokenConnector:
    """Fails as a mistake in our own code would."""

    def __init__(self) -> None:
        self.asked = 0

    async def connect(self, *_: object) -> Any:
        """Fail."""
        self.asked += 1
        raise KeyError("a mistake")


def test_our_own_mistake_is_an_attempt_that_failed() -> None:
    """It is logged, and the mail waits for its next attempt: no server is asked without end."""
    database: Any = PaperDatabase()
    connector: Any = BrokenConnector()
    settle: Any = object
    courier = Courier(database, connector, settle, OutboundSettings(), Clock(), 1, lambda: NOW)
    courier.running = True

    with capturedLogs() as told:
        finish(courier.round())

    assert connector.asked == 1
    [(_, settled)] = database.done[0].pairs
    assert (settled.outcome.value, str(settled.status)) == ("later", "4.3.0")
    assert settled.next_attempt == NOW + timedelta(minutes=5)
    assert isinstance(told[0]["log_failure"].value, KeyError)


class _Weary:
    """A conversation with a server that takes one message a connection."""

    usable = True

    def __init__(self) -> None:
        self.transcript: Any = None
        self._sent = 0

    async def send(self, *_: object) -> tuple[Fate, ...]:
        """Take the first one."""
        self._sent += 1
        if self._sent > 1:
            self.usable = False
            raise Broken("the server closes the connection: 421 enough", Status(4, 7, 0))
        return (Fate(Outcome.DONE, Status(2, 0, 0), "ok"),)


def test_a_message_may_meet_many_connections_that_had_enough() -> None:
    """Each of them has sent something, so none of it is an attempt."""
    database: Any = PaperDatabase()
    nothing: Any = None
    courier = Courier(database, nothing, nothing, OutboundSettings(), Clock(), 1, lambda: NOW)
    lane, parcel = Lane(nothing), Parcel((ROW,), Letter(3, 0, b"x\r\n"))

    for _ in range(3):
        talk: Any = _Weary()
        finish(talk.send())
        connected = Connected(talk, "mx.far.example", "")
        assert not finish(courier._send(lane, connected, parcel, used=True))  # noqa: SLF001 - which connection a message meets is chance
        assert lane.parcels.popleft() is parcel

    assert database.done == []
