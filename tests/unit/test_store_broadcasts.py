"""A broadcast reaches each mailbox once, whatever happens on the way; on every database."""

import pytest
from sqlalchemy import select, update

from mailsvc.errors import NotFound
from mailsvc.model.account import Account
from mailsvc.model.broadcast import Audience, BroadcastState
from mailsvc.model.ids import MessageId
from mailsvc.store.accounts import lock_account
from mailsvc.store.broadcasts import (
    BroadcastStep,
    Plan,
    begin_broadcast,
    get_broadcast,
    list_broadcasts,
    stop_broadcast,
    unfinished,
)
from mailsvc.store.delivery import Delivery
from mailsvc.store.engine import Engines
from mailsvc.store.maildrop import expunge
from mailsvc.store.removal import purge_bodies
from mailsvc.store.tables import account, broadcast, message, trail
from tests.support.mail_store import TRACE, Store, check_books

BODY = b"Subject: holidays\r\n\r\ntext\r\n"


class House:
    """A store with users, and a broadcast."""

    def __init__(self, engines: Engines) -> None:
        self.store = Store(engines)
        self.step = BroadcastStep(self.store.ids)

    def users(self, count: int) -> list[Account]:
        """Make some."""
        return [self.store.add(f"user{number}") for number in range(count)]

    def begin(self, audience: Audience = Audience.ALL, name: str = "") -> BroadcastState:
        """Begin one."""
        delivery = to_nobody(self.store)
        plan = Plan(delivery, audience, name, "uid 0")
        return self.store.do(begin_broadcast, self.store.ids, plan)

    def goes_on(self, state: BroadcastState, most: int = 2) -> bool:
        """Take one step."""
        return self.store.do(self.step, state.number, most)

    def ends(self, state: BroadcastState, most: int = 2) -> BroadcastState:
        """Take all steps."""
        while self.goes_on(state, most):
            pass
        return self.store.do(get_broadcast, state.number)

    def counts(self, users: list[Account]) -> list[int]:
        """Count the messages of each."""
        return [len(self.store.uids(one)) for one in users]

    def bodies(self) -> list[MessageId]:
        """List all bodies."""
        return self.store.do(lambda conn: list(conn.scalars(select(message.c.id))))


def to_nobody(store: Store) -> Delivery:
    """Make a message to nobody."""
    return store.delivery(BODY, sender="postmaster@test.com")


@pytest.fixture
def house(engines: Engines) -> House:
    """Give a store."""
    return House(engines)


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 100])
def test_everybody_gets_it_once_and_it_is_stored_once(house: House, most: int) -> None:
    """Whatever the size of a step."""
    users = house.users(4)

    ended = house.ends(house.begin(), most)

    assert house.counts(users) == [1, 1, 1, 1]
    assert [house.store.body(one) for one in house.bodies()] == [TRACE + BODY]
    assert (ended.total, ended.delivered, ended.skipped) == (4, 4, 0)
    assert ended.ended is not None
    house.store.do(check_books)


def test_one_that_was_cut_off_goes_on_where_it_was(house: House) -> None:
    """Another process takes it up."""
    users = house.users(5)
    state = house.begin()
    assert house.goes_on(state)
    assert house.store.do(unfinished) == [state.number]

    house.step = BroadcastStep(house.store.ids)
    ended = house.ends(state)

    assert house.counts(users) == [1] * 5
    assert ended.delivered == 5
    assert house.store.do(unfinished) == []
    assert not house.goes_on(state)
    assert house.counts(users) == [1] * 5


def test_full_and_disabled_mailboxes_are_skipped(house: House) -> None:
    """The others get it; the trail tells of both."""
    users = [house.store.add("a"), house.store.add("b", quota_octets=10), house.store.add("c")]
    house.store.do(
        lambda conn: conn.execute(
            update(account).where(account.c.id == users[2].id).values(enabled=False)
        )
    )

    ended = house.ends(house.begin())

    assert house.counts(users) == [1, 0, 0]
    assert (ended.delivered, ended.skipped) == (1, 2)
    told = house.store.do(
        lambda conn: conn.execute(select(trail.c.event, trail.c.recipient, trail.c.status)).all()
    )
    assert sorted(map(tuple, told)) == [
        ("broadcast", "a@test.com", "2.0.0"),
        ("skipped", "b@test.com", "5.2.2"),
        ("skipped", "c@test.com", "5.2.1"),
    ]


def test_the_body_stays_until_all_had_their_turn(house: House) -> None:
    """The first one deletes it while others wait; then it goes with the last entry."""
    users = house.users(3)
    state = house.begin()
    house.goes_on(state, 1)
    house.store.do(expunge, house.store.lease(users[0]), house.store.uids(users[0]))
    house.store.do(purge_bodies)
    assert len(house.bodies()) == 1

    house.ends(state)

    assert house.counts(users) == [0, 1, 1]
    house.store.do(purge_bodies)
    assert len(house.bodies()) == 1
    for one in users[1:]:
        house.store.do(expunge, house.store.lease(one), house.store.uids(one))
    house.store.do(purge_bodies)
    assert house.bodies() == []
    assert house.store.do(get_broadcast, state.number).delivered == 3


def test_nobody_left_leaves_no_body(house: House) -> None:
    """All were skipped."""
    house.store.add("a", quota_octets=10)
    house.ends(house.begin())

    house.store.do(purge_bodies)

    assert house.bodies() == []


def test_one_is_stopped(house: House) -> None:
    """Who has it keeps it."""
    users = house.users(3)
    state = house.begin()
    house.goes_on(state, 1)

    stopped = house.store.do(stop_broadcast, state.number)

    assert stopped.ended is not None
    assert not house.goes_on(state)
    assert house.counts(users) == [1, 0, 0]
    with pytest.raises(NotFound, match="not under way"):
        house.store.do(stop_broadcast, state.number)


def test_a_domain_that_is_not_ours_is_refused(house: House) -> None:
    """Nothing is stored."""
    house.users(1)
    with pytest.raises(NotFound, match="not a domain of ours"):
        house.begin(Audience.DOMAIN, "example.org")

    assert house.bodies() == []
    assert house.begin(Audience.DOMAIN, "test.com").total == 1


def test_an_account_that_goes_meanwhile_is_not_missed(house: House) -> None:
    """Nor does it hold up the others."""
    users = house.users(4)
    state = house.begin()
    house.goes_on(state, 1)
    house.store.do(lock_account, users[1].address)
    house.store.do(
        lambda conn: conn.execute(
            update(account).where(account.c.id == users[1].id).values(pending=True)
        )
    )

    ended = house.ends(state)

    assert house.counts(users) == [1, 0, 1, 1]
    assert ended.delivered == 3


def test_they_are_listed_the_latest_first(house: House) -> None:
    """A page at a time."""
    house.users(1)
    numbers = [house.begin().number for _ in range(3)]

    first = house.store.do(list_broadcasts, None, 2)
    rest = house.store.do(list_broadcasts, first[-1].number, 2)

    assert [one.number for one in (*first, *rest)] == numbers[::-1]
    assert house.store.do(lambda conn: conn.scalars(select(broadcast.c.created_by)).first())
