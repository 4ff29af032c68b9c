"""The queue in each database: nobody has a row twice, and none is lost."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, update

from mailsvc.model.account import Account
from mailsvc.model.envelope import DeliverBy
from mailsvc.model.ids import MessageId
from mailsvc.model.outgoing import Outcome
from mailsvc.model.queued import Queued, Settled
from mailsvc.store.engine import Engines
from mailsvc.store.queue import (
    add_to_queue,
    claim,
    free_leases,
    give_back,
    postpone,
    queue_state,
    read_letters,
    renew,
    settle,
)
from mailsvc.store.removal import purge_bodies, release_entries
from mailsvc.store.tables import attempt, entry, message, queue
from tests.support.mail_store import Store, running
from tests.support.pump import Pump

LEASE = timedelta(minutes=5)
NOW = datetime.now(UTC)
LATER = timedelta(hours=1)


@pytest.fixture
def store(engines: Engines) -> Store:
    """Give a way into the database."""
    return Store(engines)


@pytest.fixture
def alice(store: Store) -> Account:
    """Give somebody whose message leaves."""
    return store.add("alice")


def _fill(store: Store, alice: Account, *names: str, first: datetime = NOW) -> list[Queued]:
    """Put recipients of one message down."""
    delivery = store.delivery(b"Subject: x\r\n\r\n", alice)
    assert store.deliver(delivery) == [None]
    rows = [
        Queued(
            id=store.ids.next(),
            message=MessageId(delivery.message),
            sender="alice@test.com",
            recipient=f"{name}@far.example",
            domain=f"{name[0]}.example",
            attempts=0,
            expires=NOW + timedelta(days=5),
            created=first,
            notify="FAILURE,DELAY",
            returns="HDRS",
            identifier="id 1",
            original="rfc822;x@y",
            require_tls=True,
            deliver_by=DeliverBy(NOW + LATER, returns=False, trace=True),
        )
        for name in names
    ]
    store.do(add_to_queue, [(row, None) for row in rows])
    return rows


def _result(row: Queued, outcome: Outcome, **more: Any) -> Settled:
    values = {"next_attempt": NOW + LATER, "text": "250 ok", "started": NOW, "host": "mx"}
    return Settled(id=row.id, outcome=outcome, **{**values, **more})


def _settle(store: Store, owner: int, row: Queued, outcome: Outcome, **more: Any) -> set[int]:
    result = _result(row, outcome, **more)
    return store.do(settle, store.ids, [(owner, row, result)])


def test_what_is_put_down_is_taken_once(store: Store, alice: Account) -> None:
    """With all that was said of it; nobody else gets it until the lease has ended."""
    rows = _fill(store, alice, "bob", "carl")

    assert store.do(claim, 1, LEASE, 10) == rows
    assert store.do(claim, 2, LEASE, 10) == []
    state = store.do(queue_state)
    assert (state.waiting, state.held) == (2, 0)
    assert state.oldest is not None
    assert abs(state.oldest - NOW) < timedelta(milliseconds=1)


def test_rows_of_a_courier_that_died_are_taken_by_another(store: Store, alice: Account) -> None:
    """After its lease; what it says then does not count."""
    [row] = _fill(store, alice, "bob")
    assert store.do(claim, 1, timedelta(seconds=-1), 10) == [row]  # and it dies
    assert store.do(claim, 2, LEASE, 10) == [row]
    assert _settle(store, 1, row, Outcome.DONE) == set()
    assert store.do(renew, 1, [row.id], LEASE) == set()
    assert store.do(renew, 2, [row.id], LEASE) == {row.id}
    assert _settle(store, 2, row, Outcome.DONE) == {row.id}
    assert store.do(queue_state).waiting == 0


def test_what_is_not_due_waits(store: Store, alice: Account) -> None:
    """Also what is held, and domains that are busy."""
    _fill(store, alice, "late", first=NOW + LATER)
    [bob] = _fill(store, alice, "bob")
    [carl] = _fill(store, alice, "carl")
    _fill(store, alice, "held")
    store.do(lambda conn: conn.execute(update(queue).where(_named("held")).values(held=True)))

    assert store.do(claim, 1, LEASE, 10, ["c.example"]) == [bob]
    assert store.do(claim, 1, LEASE, 10) == [carl]
    assert store.do(queue_state)[:2] == (3, 1)


def _named(name: str) -> Any:
    return queue.c.recipient == f"{name}@far.example"


def test_one_that_waits_is_tried_again(store: Store, alice: Account) -> None:
    """At its time; each attempt is kept."""
    [row] = _fill(store, alice, "bob")
    store.do(claim, 1, LEASE, 10)
    later = {"text": "450 busy", "next_attempt": NOW, "conversation": "> MAIL"}
    assert _settle(store, 1, row, Outcome.LATER, **later) == {row.id}

    [again] = store.do(claim, 2, LEASE, 10)
    assert again == row._replace(attempts=1)
    _settle(store, 2, row, Outcome.UNKNOWN, next_attempt=NOW + LATER)
    assert store.do(claim, 3, LEASE, 10) == []
    kept = store.do(lambda conn: conn.execute(select(attempt).order_by(attempt.c.id)).all())
    assert [(one.outcome, one.host, one.conversation) for one in kept] == [
        ("later", "mx", "> MAIL"),
        ("unknown", "mx", "250 ok"),
    ]


def test_what_was_not_tried_is_given_back(store: Store, alice: Account) -> None:
    """At once, and without an attempt."""
    [row] = _fill(store, alice, "bob")
    store.do(claim, 1, LEASE, 10)
    store.do(give_back, 2, [row.id])
    assert store.do(claim, 2, LEASE, 10) == []
    store.do(give_back, 1, [row.id])
    assert store.do(claim, 2, LEASE, 10) == [row]


def test_what_is_put_off_waits_without_an_attempt(store: Store, alice: Account) -> None:
    """Until the moment, or until it has waited too long; only its holder can do it."""
    [row] = _fill(store, alice, "bob")
    store.do(claim, 1, LEASE, 10)
    store.do(postpone, 2, [row.id], NOW + LATER)
    store.do(postpone, 1, [row.id], NOW + timedelta(days=9))
    assert store.do(claim, 1, LEASE, 10) == []
    [(due, attempts)] = store.do(
        lambda conn: conn.execute(select(queue.c.next_attempt, queue.c.attempts)).all()
    )
    assert attempts == 0
    assert abs(due - row.expires) < timedelta(milliseconds=1)


def test_a_start_takes_all_leases(store: Store, alice: Account) -> None:
    """Of a daemon that was killed and has its database for itself."""
    [row] = _fill(store, alice, "bob")
    store.do(claim, 1, LEASE, 10)
    store.do(free_leases)
    assert store.do(claim, 2, LEASE, 10) == [row]


def test_letters_are_read_together(store: Store, alice: Account) -> None:
    """A large body is left for later."""
    [row] = _fill(store, alice, "bob")
    [small] = store.do(read_letters, [row.message], 1000).values()
    assert small.body is not None
    assert small.body[small.skip :].endswith(b"Subject: x\r\n\r\n")
    assert len(small.body) == small.octets
    [large] = store.do(read_letters, [row.message], 1).values()
    assert large == small._replace(body=None)


def test_a_body_stays_as_long_as_somebody_waits_for_it(store: Store, alice: Account) -> None:
    """And goes with the last one."""
    rows = _fill(store, alice, "bob", "carl")
    store.do(release_entries, entry.c.folder_id == alice.inbox)

    def left(conn: Connection) -> int | None:
        return conn.scalar(select(func.count(message.c.id)))

    for row, bodies in zip(rows, (1, 0), strict=True):
        store.do(purge_bodies)
        assert store.do(left) == 1
        store.do(claim, 1, LEASE, 1)
        _settle(store, 1, row, Outcome.BOUNCE)
        store.do(purge_bodies)
        assert store.do(left) == bodies


def test_three_couriers_share_the_work(store: Store, alice: Account, database_url: str) -> None:
    """Each row is had by one of them, and by no other."""
    rows = _fill(store, alice, *(f"user{number}" for number in range(60)))
    pump = Pump()
    with running(database_url, pump, node=1) as database:
        asked = [pump.start(database.write(claim, owner, LEASE, 7)) for owner in range(12)]
        taken = [one.id for share in asked for one in share.result()]

    assert len(taken) == len(set(taken))
    rest = store.do(claim, 99, LEASE, 100)
    assert sorted([*taken, *(one.id for one in rest)]) == [row.id for row in rows]
