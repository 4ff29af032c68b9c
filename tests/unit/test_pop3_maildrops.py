"""The promises of ``IMaildrops``, kept by the database and by the maildrops in memory."""

from collections.abc import Callable, Coroutine, Iterator
from itertools import count
from typing import Any, TypeVar, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from mailsvc.errors import MaildropInUse
from mailsvc.interfaces import IMaildrops
from mailsvc.model.account import Account
from mailsvc.model.ids import MessageId
from mailsvc.model.maildrop import Snapshot
from tests.support.pop3_maildrops import MemoryMaildrops, make_account
from tests.support.pop3_store import SqliteMaildrops

Result = TypeVar("Result")
_numbers = count(1)


def now(work: Coroutine[Deferred[Any], Any, Result]) -> Result:
    """Give what needs no waiting."""
    results: list[Any] = []
    _ = Deferred.fromCoroutine(work).addBoth(results.append)
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return cast("Result", result)


class Case:
    """A provider of maildrops and the way to put mail into it."""

    def __init__(
        self,
        maildrops: Any,
        new: Callable[[int], Account],
        fill: Callable[..., None],
    ) -> None:
        self.maildrops = maildrops
        self.new = new
        self.fill = fill

    def account(self, *bodies: bytes) -> Account:
        """Make an account with mail."""
        account = self.new(next(_numbers))
        self.fill(account, *bodies)
        return account

    def open(self, account: Account, lease: float = 60.0) -> Snapshot:
        """Open its maildrop."""
        snapshot: Snapshot = now(self.maildrops.open(account, lease))
        return snapshot

    def bodies(self, snapshot: Snapshot) -> list[bytes | None]:
        """Fetch all bodies."""
        messages = [MessageId(message) for message in snapshot.messages]
        found = now(self.maildrops.read(messages, 0))
        return [found[message] for message in messages]


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteMaildrops]:
    """One database for all tests here: each has its own account."""
    made = SqliteMaildrops(tmp_path_factory.mktemp("maildrops"))
    yield made
    made.engines.close()


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteMaildrops]:
    """One more, whose leases are in memory."""
    made = SqliteMaildrops(tmp_path_factory.mktemp("single"), single=True)
    yield made
    made.engines.close()


@pytest.fixture(params=["memory", "shared", "single"])
def case(request: pytest.FixtureRequest, sqlite: SqliteMaildrops, single: SqliteMaildrops) -> Case:
    """Give each provider in turn."""
    for name, real in (("shared", sqlite), ("single", single)):
        if request.param == name:
            return Case(real.maildrops, real.make_account, real.fill)
    memory = MemoryMaildrops(Clock())
    return Case(memory, make_account, memory.fill)


def test_it_provides_its_interface(case: Case) -> None:
    """Every method is there, with its arguments."""
    assert verifyObject(IMaildrops, case.maildrops)


def test_mail_is_listed_in_order_of_arrival(case: Case) -> None:
    """The oldest message has the number 1."""
    account = case.account(b"one\r\n", b"three\r\n", b"five\r\n")

    snapshot = case.open(account)

    assert len(snapshot) == 3
    assert list(snapshot.octets) == [5, 7, 6]
    assert list(snapshot.uids) == sorted(set(snapshot.uids))
    assert case.bodies(snapshot) == [b"one\r\n", b"three\r\n", b"five\r\n"]


def test_an_empty_maildrop_opens(case: Case) -> None:
    """A new user finds nothing, and no error."""
    assert len(case.open(case.account())) == 0


def test_a_maildrop_is_for_one_session(case: Case) -> None:
    """RFC 1939 section 4: exclusive access."""
    account = case.account()
    snapshot = case.open(account)

    with pytest.raises(MaildropInUse):
        case.open(account)
    now(case.maildrops.release(snapshot.lease))
    case.open(account)


def test_two_users_do_not_disturb_each_other(case: Case) -> None:
    """The lease is for one maildrop."""
    case.open(case.account())
    case.open(case.account())


def test_a_lease_that_ran_out_is_free(case: Case) -> None:
    """A crash blocks a user for the length of a lease only."""
    account = case.account()
    case.open(account, lease=0.0)

    case.open(account)


def test_a_renewed_lease_is_held(case: Case) -> None:
    """A long session keeps its maildrop."""
    account = case.account()
    snapshot = case.open(account, lease=0.0)

    assert now(case.maildrops.renew(snapshot.lease, 60.0)) is True
    with pytest.raises(MaildropInUse):
        case.open(account)


def test_a_lost_lease_can_do_nothing(case: Case) -> None:
    """A session that lost its maildrop does not disturb the next one."""
    account = case.account(b"x\r\n")
    lost, held = case.open(account, lease=0.0), case.open(account)

    assert now(case.maildrops.renew(lost.lease, 60.0)) is False
    now(case.maildrops.release(lost.lease))
    with pytest.raises(MaildropInUse):
        now(case.maildrops.expunge(lost.lease, list(lost.uids)))
    with pytest.raises(MaildropInUse):
        case.open(account)
    now(case.maildrops.release(held.lease))
    assert len(case.open(account)) == 1


def test_releasing_twice_is_harmless(case: Case) -> None:
    """The second time nothing happens."""
    account = case.account()
    snapshot = case.open(account)

    now(case.maildrops.release(snapshot.lease))
    now(case.maildrops.release(snapshot.lease))


def test_expunged_messages_are_gone_and_the_others_keep_their_names(case: Case) -> None:
    """RFC 1939 section 7: a unique-id never changes."""
    account = case.account(b"one\r\n", b"two\r\n", b"three\r\n")
    before = case.open(account)

    now(case.maildrops.expunge(before.lease, [before.uids[0], before.uids[2]]))
    now(case.maildrops.release(before.lease))

    after = case.open(account)
    assert [after.uidl(index) for index in range(len(after))] == [before.uidl(1)]
    assert case.bodies(after) == [b"two\r\n"]


def test_a_removed_name_is_not_used_again(case: Case) -> None:
    """RFC 1939 section 7: a unique-id is never reused."""
    account = case.account(b"one\r\n")
    before = case.open(account)
    now(case.maildrops.expunge(before.lease, list(before.uids)))
    now(case.maildrops.release(before.lease))

    case.fill(account, b"two\r\n")

    assert case.open(account).uidl(0) != before.uidl(0)


def test_expunging_what_is_gone_is_harmless(case: Case) -> None:
    """The web may have removed it meanwhile."""
    snapshot = case.open(case.account(b"one\r\n"))

    now(case.maildrops.expunge(snapshot.lease, list(snapshot.uids)))
    now(case.maildrops.expunge(snapshot.lease, list(snapshot.uids)))


def test_a_missing_message_is_missing_in_the_answer(case: Case) -> None:
    """It is no error: the others are there."""
    snapshot = case.open(case.account(b"one\r\n"))
    there, not_there = MessageId(snapshot.messages[0]), MessageId(1 << 60)

    assert now(case.maildrops.read([not_there, there], 0)) == {there: b"one\r\n"}
    assert now(case.maildrops.read_chunk(not_there, 0)) is None


def test_a_large_message_comes_in_chunks(case: Case) -> None:
    """All chunks together are the message; behind the last one is nothing."""
    body = b"0123456789abcdef" * 40_000
    snapshot = case.open(case.account(body, b"small\r\n"))
    message = MessageId(snapshot.messages[0])

    assert case.bodies(snapshot) == [None, b"small\r\n"]
    chunks: list[bytes] = []
    while (chunk := now(case.maildrops.read_chunk(message, len(chunks)))) is not None:
        chunks.append(chunk)
    assert b"".join(chunks) == body
    assert len(chunks) == 3
    assert snapshot.octets[0] == len(body)
