"""POP3's view of an inbox: one session at a time, all of it, removed together."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, delete, insert, select, update
from zope.interface.verify import verifyObject

from mailsvc.errors import MaildropInUse, StorageFailed
from mailsvc.interfaces import IMaildrops
from mailsvc.model.account import Account
from mailsvc.model.ids import AccountId, FolderId, MessageId
from mailsvc.model.maildrop import Lease
from mailsvc.store import maildrop
from mailsvc.store.database import Database
from mailsvc.store.deliveries import CHUNK, INLINE
from mailsvc.store.engine import Engines
from mailsvc.store.local_leases import LocalLeases
from mailsvc.store.maildrop import Maildrops, drop_leases
from mailsvc.store.tables import entry, expunged, folder
from tests.support.database_servers import SERVERS
from tests.support.mail_store import TRACE, Store, check_books, noticed, running, wait_for_a_waiter
from tests.support.pump import PATIENCE, Pump


@pytest.fixture
def pump() -> Pump:
    """Be the reactor of all nodes."""
    return Pump()


@pytest.fixture
def store(engines: Engines) -> Store:
    """Give a store for mail."""
    return Store(engines)


@pytest.fixture
def alice(store: Store) -> Account:
    """Make a user with five messages of different sizes."""
    made = store.add("alice")
    store.deliver(*(store.delivery(b"x" * number, made) for number in range(5)))
    return made


@pytest.fixture
def database(database_url: str, pump: Pump) -> Iterator[Database]:
    """Run one node."""
    with running(database_url, pump, node=1) as started:
        yield started


@pytest.fixture
def maildrops(database: Database) -> Maildrops:
    """Open the maildrops on one node."""
    return Maildrops(database)


@pytest.fixture
def elsewhere(
    kind: str, database_url: str, pump: Pump, maildrops: Maildrops
) -> Iterator[Maildrops]:
    """Open the maildrops on another node; an SQLite database has one node only."""
    if kind == "sqlite":
        yield maildrops
        return
    with running(database_url, pump, node=2) as started:
        yield Maildrops(started)


def tombstones(conn: Connection) -> list[int]:
    """List what was removed."""
    return list(conn.scalars(select(expunged.c.uid).order_by(expunged.c.uid)))


def modseq(conn: Connection, account: Account) -> int | None:
    """Tell an inbox's latest change."""
    return conn.scalar(select(folder.c.modseq).where(folder.c.id == account.inbox))


def enter(conn: Connection, account: Account, body: MessageId, uids: Sequence[int]) -> None:
    """Put one message so often into an inbox and nothing else; the sizes count from 0."""
    inbox = account.inbox
    now = datetime.now(UTC)
    same = {"folder_id": inbox, "message_id": body, "received": now, "flags": 0, "modseq": 1}
    rows = [
        {**same, "uid": uid, "octets": octets, "thread_id": body} for octets, uid in enumerate(uids)
    ]
    conn.execute(delete(entry).where(entry.c.folder_id == inbox))
    conn.execute(insert(entry), rows[::-1])
    conn.execute(update(folder).where(folder.c.id == inbox).values(messages=len(uids)))


class TestLease:
    """Exclusive access; RFC 1939 section 4."""

    def test_a_second_session_is_refused_until_the_first_ends(
        self, maildrops: Maildrops, elsewhere: Maildrops, pump: Pump, alice: Account
    ) -> None:
        """On this node and on every other."""
        verifyObject(IMaildrops, maildrops)
        first = pump.finish(maildrops.open(alice, 60.0))

        for node in (maildrops, elsewhere):
            with pytest.raises(MaildropInUse):
                pump.finish(node.open(alice, 60.0))

        pump.finish(maildrops.release(first.lease))
        assert len(pump.finish(elsewhere.open(alice, 60.0))) == 5

    def test_of_a_crowd_one_gets_in(
        self, maildrops: Maildrops, elsewhere: Maildrops, pump: Pump, alice: Account, store: Store
    ) -> None:
        """However many come at the same moment; another user is not held up."""
        bob = store.add("bob")
        crowd = [
            pump.start(node.open(alice, 60.0))
            for node in (maildrops, elsewhere, maildrops, elsewhere, maildrops)
        ]
        other = pump.start(maildrops.open(bob, 60.0))

        got_in = []
        for one in crowd:
            try:
                got_in.append(one.result())
            except MaildropInUse:
                continue

        assert len(got_in) == 1
        assert len(other.result()) == 0

    @pytest.mark.parametrize("kind", SERVERS)
    def test_a_tie_between_nodes_is_no_fault(
        self,
        maildrops: Maildrops,
        engines: Engines,
        pump: Pump,
        alice: Account,
        store: Store,
    ) -> None:
        """Who comes second by a hair hears that it is in use, not that storage failed."""
        with engines.write.begin() as theirs:
            token = store.ids.next()
            wish = maildrop._Wish(Lease(alice.id, alice.inbox, token), timedelta(60))  # noqa: SLF001 - made by open
            assert list(maildrop.take_leases(theirs, [wish])) == [None]
            late = pump.start(maildrops.open(alice, 60.0))
            wait_for_a_waiter(engines.write)

        with pytest.raises(MaildropInUse):
            late.result()

    def test_a_lease_that_ran_out_can_be_taken(
        self, maildrops: Maildrops, elsewhere: Maildrops, pump: Pump, alice: Account
    ) -> None:
        """After a crash the user gets in again, and the dead session's lease is worth nothing."""
        dead = pump.finish(elsewhere.open(alice, -1.0)).lease

        taken = pump.finish(maildrops.open(alice, 60.0)).lease

        assert not pump.finish(elsewhere.renew(dead, 60.0))
        pump.finish(elsewhere.release(dead))
        assert pump.finish(maildrops.renew(taken, 60.0))

    def test_a_renewed_lease_holds(
        self, maildrops: Maildrops, elsewhere: Maildrops, pump: Pump, alice: Account
    ) -> None:
        """A long session is not thrown out."""
        lease = pump.finish(maildrops.open(alice, -1.0)).lease

        assert pump.finish(maildrops.renew(lease, 60.0))
        assert pump.finish(maildrops.renew(lease, 60.0))

        with pytest.raises(MaildropInUse):
            pump.finish(elsewhere.open(alice, 60.0))

    @pytest.mark.parametrize("kind", SERVERS)
    def test_leases_can_be_dropped(
        self, maildrops: Maildrops, pump: Pump, alice: Account, store: Store
    ) -> None:
        """One user's, or all."""
        bob = store.add("bob")
        for account in (alice, bob):
            pump.finish(maildrops.open(account, 60.0))

        store.do(drop_leases, alice.id)
        pump.finish(maildrops.open(alice, 60.0))
        with pytest.raises(MaildropInUse):
            pump.finish(maildrops.open(bob, 60.0))

        store.do(drop_leases)
        pump.finish(maildrops.open(bob, 60.0))

    def test_a_session_that_cannot_list_holds_nothing(
        self,
        maildrops: Maildrops,
        pump: Pump,
        alice: Account,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A fault behind the lease does not lock the user out."""

        def fail(_conn: Connection, _lease: Lease) -> None:
            raise StorageFailed

        with monkeypatch.context() as patch:
            patch.setattr(maildrop, "take_snapshot", fail)
            patch.setattr(maildrop, "glance_at_maildrop", lambda _conn, lease: None)  # noqa: ARG005 - as called
            with pytest.raises(StorageFailed):
                pump.finish(maildrops.open(alice, 60.0))

        assert len(pump.finish(maildrops.open(alice, 60.0))) == 5


class TestLocalLease:
    """Where one process has the database for itself, leases are in its memory."""

    def test_it_ends_when_it_runs_out(self) -> None:
        """A session that hangs does not lock its user out for ever."""
        now = [0.0]
        leases = LocalLeases(lambda: now[0])
        first, second = (Lease(AccountId(1), FolderId(2), token) for token in (3, 4))
        leases.take(first, 10.0)

        now[0] = 9.9
        with pytest.raises(MaildropInUse):
            leases.take(second, 10.0)
        now[0] = 10.0
        leases.take(second, 10.0)

        assert (leases.holds(first), leases.holds(second)) == (False, True)
        assert not leases.renew(first, 10.0)
        leases.release(first)
        assert leases.holds(second)

    def test_a_late_sign_of_life_is_enough_when_nobody_came(self) -> None:
        """A lease that ran out is lost only to somebody who takes it."""
        now = [0.0]
        leases = LocalLeases(lambda: now[0])
        lease = Lease(AccountId(1), FolderId(2), 3)
        leases.take(lease, 10.0)

        now[0] = 20.0

        assert leases.renew(lease, 10.0)
        with pytest.raises(MaildropInUse):
            leases.take(Lease(AccountId(1), FolderId(2), 4), 10.0)


class TestListing:
    """What a session sees."""

    def test_it_lists_in_the_order_of_arrival(
        self, maildrops: Maildrops, pump: Pump, alice: Account, store: Store
    ) -> None:
        """Message 1 is the oldest; sizes are those on the wire; RFC 1939 section 11."""
        snapshot = pump.finish(maildrops.open(alice, 60.0))

        assert list(snapshot.uids) == [1, 2, 3, 4, 5]
        assert list(snapshot.messages) == store.messages(alice)
        assert list(snapshot.octets) == [len(TRACE) + number for number in range(5)]

    @pytest.mark.parametrize("messages", [501, 1000, 1001, 10_007])
    def test_a_large_maildrop_is_listed_whole(
        self, maildrops: Maildrops, pump: Pump, store: Store, messages: int
    ) -> None:
        """It is read a thousand rows at a time; numbers have gaps and may be large."""
        bob = store.add("bob")
        store.deliver(store.delivery(b"", bob))
        (body,) = store.messages(bob)
        uids = [2**40 + 3 * number for number in range(messages)]
        store.do(enter, bob, body, uids)

        snapshot = pump.finish(maildrops.open(bob, 60.0))

        assert list(snapshot.uids) == uids
        assert set(snapshot.messages) == {body}
        assert list(snapshot.octets) == list(range(messages))
        assert snapshot.uidvalidity > 0

    def test_what_arrives_later_is_for_the_next_session(
        self, maildrops: Maildrops, pump: Pump, alice: Account, store: Store
    ) -> None:
        """Numbers do not move under a client's feet."""
        snapshot = pump.finish(maildrops.open(alice, 60.0))

        store.deliver(store.delivery(b"new", alice))

        assert len(snapshot) == 5
        pump.finish(maildrops.release(snapshot.lease))
        assert len(pump.finish(maildrops.open(alice, 60.0))) == 6

    def test_unique_ids_stay_and_never_come_again(
        self, maildrops: Maildrops, pump: Pump, alice: Account, store: Store
    ) -> None:
        """A client that keeps mail on the server fetches each message once."""
        before = pump.finish(maildrops.open(alice, 60.0))
        names = [before.uidl(index) for index in range(5)]
        pump.finish(maildrops.expunge(before.lease, [2, 5]))
        pump.finish(maildrops.release(before.lease))
        store.deliver(store.delivery(b"new", alice))

        after = pump.finish(maildrops.open(alice, 60.0))

        seen = [after.uidl(index) for index in range(4)]
        assert seen[:3] == [names[0], names[2], names[3]]
        assert seen[3] not in names


class TestReading:
    """Bodies, in one query or chunk by chunk."""

    @pytest.mark.parametrize("octets", [0, 1 << 30])
    def test_small_bodies_come_together(
        self, maildrops: Maildrops, pump: Pump, alice: Account, store: Store, octets: int
    ) -> None:
        """Content is octet for octet, at a glance or not; what is large or gone is told apart."""
        large = store.delivery(b"y" * INLINE, alice)
        store.deliver(large)
        small = store.messages(alice)[:5]

        found = pump.finish(maildrops.read([*small, large.message, MessageId(1)], octets))

        wanted = {number: TRACE + b"x" * place for place, number in enumerate(small)}
        assert found == {**wanted, large.message: None}
        assert pump.finish(maildrops.read([], 0)) == {}

    def test_large_bodies_come_in_chunks(
        self, maildrops: Maildrops, pump: Pump, alice: Account, store: Store
    ) -> None:
        """Chunks join to the whole; behind the last one there is nothing."""
        content = bytes(range(256)) * (CHUNK // 100)
        large = store.delivery(content, alice)
        store.deliver(large)

        chunks: list[bytes] = []
        while (chunk := pump.finish(maildrops.read_chunk(large.message, len(chunks)))) is not None:
            chunks.append(chunk)

        assert len(chunks) > 1
        assert b"".join(chunks) == TRACE + content


class TestRemoval:
    """What QUIT does; RFC 1939 section 6."""

    def test_all_that_was_marked_goes_at_once(
        self, maildrops: Maildrops, pump: Pump, alice: Account, store: Store
    ) -> None:
        """Usage shrinks with it, and synchronising clients will hear of it."""
        lease = pump.finish(maildrops.open(alice, 60.0)).lease
        before = store.do(modseq, alice)

        pump.finish(maildrops.expunge(lease, [4, 1, 4, 99]))

        assert store.uids(alice) == [2, 3, 5]
        assert store.do(tombstones) == [1, 4]
        assert store.usage(alice) == (6, 3, 3 * len(TRACE) + 1 + 2 + 4)
        after = store.do(modseq, alice)
        assert (before or 0) < (after or 0)
        store.do(check_books)

    def test_thousands_go_in_one_transaction(
        self, maildrops: Maildrops, pump: Pump, store: Store
    ) -> None:
        """A client that empties a full maildrop meets no limit of a statement."""
        bob = store.add("bob")
        store.deliver(*(store.delivery(b"", bob) for _ in range(1300)))
        snapshot = pump.finish(maildrops.open(bob, 60.0))

        pump.finish(maildrops.expunge(snapshot.lease, snapshot.uids[:-1]))

        assert store.uids(bob) == [1300]
        store.do(check_books)

    def test_a_lost_lease_removes_nothing(
        self, maildrops: Maildrops, elsewhere: Maildrops, pump: Pump, alice: Account, store: Store
    ) -> None:
        """The session that holds the maildrop now keeps all it was shown."""
        lost = pump.finish(elsewhere.open(alice, -1.0)).lease
        pump.finish(maildrops.open(alice, 60.0))

        with pytest.raises(MaildropInUse):
            pump.finish(elsewhere.expunge(lost, [1, 2]))

        assert store.uids(alice) == [1, 2, 3, 4, 5]
        assert store.do(tombstones) == []

    @pytest.mark.parametrize("kind", SERVERS)
    def test_a_lease_cannot_be_lost_in_the_middle(
        self, maildrops: Maildrops, engines: Engines, pump: Pump, alice: Account, store: Store
    ) -> None:
        """Who takes it over waits for the removal, and is shown what is left."""
        lease = store.lease(alice, seconds=-1.0)
        with engines.write.begin() as ours, noticed(engines.write, "DELETE FROM entry") as removed:
            maildrop.expunge(ours, lease, [1, 2])
            assert removed.wait(PATIENCE)
            late = pump.start(maildrops.open(alice, 60.0))
            wait_for_a_waiter(engines.write)

        assert list(late.result().uids) == [3, 4, 5]

    def test_a_deleted_account_needs_no_removal(
        self, maildrops: Maildrops, pump: Pump, alice: Account, store: Store
    ) -> None:
        """QUIT ends well when an administrator was quicker."""
        lease = pump.finish(maildrops.open(alice, 60.0)).lease
        store.add("admin")
        store.do(lambda conn: conn.execute(folder.delete().where(folder.c.id == alice.inbox)))

        pump.finish(maildrops.expunge(lease, [1, 2]))
