"""Who may no longer be logged in is sent away."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from twisted.internet.task import Clock
from twisted.logger import formatEvent

from mailsvc.errors import StorageFailed
from mailsvc.model.account import Account, Scope, Verifier
from mailsvc.model.envelope import Client
from mailsvc.model.ids import AccountId, CredentialId
from mailsvc.model.session import Ending, Visit
from mailsvc.service.patrol import EVERY, Patrol
from tests.support.pop3_talk import logs
from tests.support.smtp_talk import MemoryDirectory, make_account

ALICE = make_account("alice", 1)


class Floor:
    """Sessions on paper."""

    def __init__(self) -> None:
        self.open: list[tuple[Scope, Visit]] = []
        self.ended: list[tuple[int, Ending]] = []

    def enter(self, number: int, account: Account | None, scope: Scope = Scope.POP3) -> None:
        """Open one."""
        client = Client("127.0.0.1", 1)
        self.open.append((scope, Visit(number, client, account, secure=False, began=0.0)))

    def visits(self) -> Iterator[tuple[Scope, Visit]]:
        return iter(self.open)

    def end(self, numbers: Sequence[int], why: Ending) -> None:
        self.ended += [(number, why) for number in numbers]


class Accounts(MemoryDirectory):
    """Accounts by number."""

    def __init__(self, *accounts: Account) -> None:
        super().__init__()
        self.by_number = {one.id: one for one in accounts}
        self.fault: Exception | None = None

    async def by_id(self, account: AccountId) -> Account | None:
        if self.fault is not None:
            raise self.fault
        return self.by_number.get(account)


def _ended(now: Account | None, scope: Scope = Scope.POP3) -> bool:
    """Tell whether a session that Alice began as ``ALICE`` ends when she is *now*."""
    floor = Floor()
    floor.enter(1, ALICE, scope)
    patrol = Patrol(floor, Accounts(*([] if now is None else [now])), Clock())
    patrol.startService()
    patrol.wake()
    return floor.ended == [(1, Ending.LOCKED_OUT)]


@pytest.mark.parametrize(
    ("now", "ended"),
    [
        (ALICE, False),
        (None, True),
        (replace(ALICE, enabled=False), True),
        (replace(ALICE, scopes=frozenset({Scope.SMTP})), True),
        (replace(ALICE, scopes=frozenset({Scope.POP3})), False),
        (replace(ALICE, verifiers=()), True),
        (replace(ALICE, verifiers=(replace(ALICE.verifiers[0], hashed="new"),)), True),
        (replace(ALICE, verifiers=(replace(ALICE.verifiers[0], scram=None),)), False),
        (replace(ALICE, verifiers=(*ALICE.verifiers, Verifier(CredentialId(9), "x"))), False),
        (replace(ALICE, display_name="Alice"), False),
    ],
)
def test_a_session_stays_while_its_login_is_good(now: Account | None, *, ended: bool) -> None:
    """Account, switch and password as they were."""
    assert _ended(now) is ended


def test_each_front_end_has_its_own_switch() -> None:
    """POP3 switched off leaves SMTP alone."""
    no_pop3 = replace(ALICE, scopes=frozenset({Scope.SMTP}))

    assert _ended(no_pop3, Scope.POP3)
    assert not _ended(no_pop3, Scope.SMTP)


def test_nobody_is_looked_for_who_has_not_logged_in() -> None:
    """Mail from other servers goes on."""
    floor, directory = Floor(), Accounts()
    floor.enter(1, None, Scope.SMTP)
    patrol = Patrol(floor, directory, Clock())
    patrol.startService()
    directory.fault = AssertionError("it was asked")

    patrol.wake()

    assert floor.ended == []


def test_it_walks_every_few_seconds() -> None:
    """A switch that turns by itself, or on another node, is seen too."""
    floor, directory, clock = Floor(), Accounts(ALICE), Clock()
    floor.enter(1, ALICE)
    patrol = Patrol(floor, directory, clock)
    patrol.startService()
    clock.advance(EVERY)
    assert floor.ended == []

    directory.by_number.clear()
    clock.advance(EVERY)

    assert floor.ended == [(1, Ending.LOCKED_OUT)]
    _ = patrol.stopService()
    assert clock.getDelayedCalls() == []


def test_a_database_that_does_not_answer_sends_nobody_away() -> None:
    """And the next round looks again."""
    floor, directory, clock = Floor(), Accounts(), Clock()
    floor.enter(1, ALICE)
    patrol = Patrol(floor, directory, clock)
    patrol.startService()
    directory.fault = StorageFailed("down")
    patrol.wake()
    assert floor.ended == []

    directory.fault = None
    clock.advance(EVERY)

    assert [number for number, _ in floor.ended] == [1]


def test_a_session_that_takes_its_time_to_end_is_told_once() -> None:
    """Its client still reads our last words."""
    floor, clock = Floor(), Clock()
    floor.enter(1, ALICE)
    floor.enter(2, ALICE, Scope.SMTP)
    patrol = Patrol(floor, Accounts(), clock)
    patrol.startService()

    with logs() as heard:
        clock.pump([EVERY] * 3)

    assert len(floor.ended) == 6
    told = [formatEvent(one) for one in heard if "logged out" in (one["log_format"] or "")]
    assert told == ["alice@test.com is logged out of pop3", "alice@test.com is logged out of smtp"]
