"""Accounts are found without asking the database each time, and never as they were long ago."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from mailsvc.errors import StorageFailed
from mailsvc.interfaces import IDirectory
from mailsvc.model.address import parse_address
from mailsvc.model.ids import AccountId
from mailsvc.store import directory as module
from mailsvc.store.accounts import (
    account_by_id,
    find_account,
    shortest_keep,
)
from mailsvc.store.directory import REMEMBER, Directory
from mailsvc.store.domains import domain_enabled, first_domain
from tests.support.smtp_talk import make_account

ALICE = parse_address("alice@test.com")


class SlowDatabase:
    """Notes each question; the test gives the answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.waiting: list[Deferred[Any]] = []
        self.single = True

    async def run(self, query: Callable[..., Any], *args: Any) -> Any:
        """Wait for the test."""
        self.asked.append((query, args))
        answer: Deferred[Any] = Deferred()
        self.waiting.append(answer)
        return await answer


class Desk:
    """A directory, its database and its clock."""

    def __init__(self) -> None:
        self.database = SlowDatabase()
        self.clock = Clock()
        slow: Any = self.database
        self.directory = Directory(slow, self.clock, "+")

    def ask(self, question: Any) -> list[Any]:
        """Ask; the list gets the answer."""
        heard: list[Any] = []
        _ = Deferred.fromCoroutine(question).addBoth(heard.append)
        return heard

    def find(self) -> list[Any]:
        """Look alice up."""
        return self.ask(self.directory.find(ALICE))

    def answer(self, value: object) -> None:
        """Let the database answer its oldest question."""
        self.database.waiting.pop(0).callback(value)


@pytest.fixture
def desk() -> Desk:
    """Give a directory that knows nothing yet."""
    return Desk()


def test_it_asks_the_right_question(desk: Desk) -> None:
    """Each method of the interface has its own query and its own memory."""
    verifyObject(IDirectory, desk.directory)
    desk.find()
    desk.ask(desk.directory.by_id(AccountId(7)))
    desk.ask(desk.directory.is_local("test.com"))
    desk.ask(desk.directory.home())
    desk.ask(desk.directory.shortest_keep())

    assert desk.database.asked == [
        (find_account, (ALICE, "+")),
        (account_by_id, (AccountId(7),)),
        (domain_enabled, ("test.com",)),
        (first_domain, ()),
        (shortest_keep, ()),
    ]


@pytest.mark.parametrize("found", ["an account", None])
def test_an_answer_is_remembered_for_a_while(desk: Desk, found: str | None) -> None:
    """A flood of mail for one user, or for nobody, costs one question; other spellings too."""
    desk.find()
    desk.answer(found)

    desk.clock.advance(REMEMBER - 0.1)
    again = desk.ask(desk.directory.find(parse_address("ALICE@test.com")))
    assert (again, len(desk.database.asked)) == ([found], 1)

    desk.clock.advance(0.2)
    assert desk.find() == []
    assert len(desk.database.asked) == 2


@pytest.mark.parametrize("single", [True, False])
def test_a_login_sees_what_another_node_has_changed(desk: Desk, *, single: bool) -> None:
    """And so does who asks by number next; a database of our own is not asked again."""
    old, new = make_account("alice", 7), replace(make_account("alice", 7), enabled=False)
    desk.database.single = single
    desk.find()
    desk.answer(old)
    desk.ask(desk.directory.by_id(AccountId(7)))
    desk.answer(old)

    heard = desk.ask(desk.directory.find(ALICE, fresh=True))
    if single:
        assert heard == [old]
        return
    desk.answer(new)

    assert heard == [new]
    assert desk.find() == [new]
    assert desk.ask(desk.directory.by_id(AccountId(7))) == [new]
    assert len(desk.database.asked) == 3


def test_a_change_is_seen_at_once(desk: Desk) -> None:
    """After forget nothing old is told."""
    desk.find()
    desk.answer("the old one")

    desk.directory.forget()

    heard = desk.find()
    assert heard == []
    desk.answer("the new one")
    assert heard == ["the new one"]
    assert desk.find() == ["the new one"]


def test_an_answer_on_its_way_during_a_change_is_not_kept(desk: Desk) -> None:
    """It may be the old truth: whoever asked before hears it, nobody else."""
    early = desk.find()
    desk.directory.forget()
    desk.answer("perhaps old")

    late = desk.find()

    assert (early, late) == (["perhaps old"], [])
    desk.answer("new")
    assert (late, desk.find()) == (["new"], ["new"])


def test_a_fault_is_not_remembered(desk: Desk) -> None:
    """When the database is back, so are the accounts."""
    heard = desk.find()
    desk.database.waiting.pop(0).errback(StorageFailed())
    assert heard[0].check(StorageFailed)

    heard = desk.find()
    desk.answer("here again")
    assert heard == ["here again"]


def test_memory_is_limited_and_the_used_stays(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender who tries a million names pushes out strangers, not our users."""
    monkeypatch.setattr(module, "MOST_REMEMBERED", 3)
    desk.find()
    desk.answer("alice")
    for number in range(20):
        desk.ask(desk.directory.by_id(AccountId(number)))
        desk.answer(None)
        assert desk.find() == ["alice"]

    asked = len(desk.database.asked)
    desk.ask(desk.directory.by_id(AccountId(0)))
    assert len(desk.database.asked) == asked + 1
