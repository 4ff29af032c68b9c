"""Mail goes to all its folders or to none, and every octet of it comes back."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from threading import current_thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select

from mailsvc.config.settings import DatabaseSettings
from mailsvc.errors import MailboxFull
from mailsvc.model.account import Account
from mailsvc.model.address import Address
from mailsvc.store.account_changes import delete_account
from mailsvc.store.deliveries import CHUNK, INLINE, DeliverBatch, RecipientGone
from mailsvc.store.delivery import Delivery
from mailsvc.store.engine import Engines, open_engines
from mailsvc.store.maildrop import drop_leases, expunge
from mailsvc.store.removal import purge_bodies
from mailsvc.store.tables import chunk, message, metadata, released, trail
from tests.support.database_servers import SERVERS
from tests.support.mail_store import (
    TRACE,
    Store,
    check_books,
    orphans,
    renamed,
    running,
    wait_for_a_waiter,
)
from tests.support.pump import Pump


@pytest.fixture
def store(engines: Engines) -> Store:
    """Give a store for mail."""
    return Store(engines)


@pytest.fixture
def other_node(database_url: str) -> Iterator[Store]:
    """Give a second node's way into the same database."""
    opened = open_engines(database_url, 1, 1)
    yield Store(opened, node=1)
    opened.close()


def body(octets: int) -> bytes:
    """Make content that is every octet once in a while, and no two chunks alike."""
    return bytes(range(256)) * (octets // 256) + bytes(range(octets % 256))


def count(conn: Connection) -> tuple[int, int]:
    """Count messages and chunks."""
    messages, chunks = (
        conn.scalar(select(func.count()).select_from(table)) or 0 for table in (message, chunk)
    )
    return messages, chunks


class TestContent:
    """What was received is what is sent."""

    @pytest.mark.parametrize(
        "octets",
        [0, 1, INLINE - 1, INLINE, INLINE + 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 17],
    )
    def test_every_octet_comes_back(self, store: Store, octets: int) -> None:
        """Small or large, trace on top, then exactly what was received."""
        alice = store.add("alice")
        received = body(octets)

        mail = store.delivery(received, alice)
        assert list(store.deliver(mail)) == [None]

        assert store.body(mail.message) == TRACE + received
        assert store.usage(alice) == (2, 1, len(TRACE) + octets)

    @pytest.mark.parametrize("octets", [INLINE, INLINE + 1])
    def test_the_border_between_row_and_chunks(self, store: Store, octets: int) -> None:
        """One octet decides, counted with the trace: a row stays small on every engine."""
        alice = store.add("alice")
        mail = store.delivery(body(octets - len(TRACE)), alice)
        store.deliver(mail)

        row = store.do(
            lambda conn: conn.execute(
                select(message.c.body, message.c.digest, message.c.octets)
            ).one()
        )

        whole = TRACE + body(octets - len(TRACE))
        assert (row.octets, bytes(row.digest)) == (octets, sha256(whole).digest())
        assert (row.body is None) == (octets > INLINE)
        assert store.body(mail.message) == whole

    def test_no_chunk_is_too_large_for_a_packet(self, store: Store) -> None:
        """Servers refuse values beyond their largest packet."""
        alice = store.add("alice")
        store.deliver(store.delivery(body(5 * CHUNK), alice))

        longest = store.do(lambda conn: conn.scalar(select(func.max(func.length(chunk.c.body)))))

        assert longest is not None
        assert longest <= CHUNK + len(TRACE)

    def test_content_that_was_closed_is_never_stored_cut(self, store: Store) -> None:
        """A session that gives up before its turn leaves no mutilated mail behind."""
        alice = store.add("alice")
        mail = store.delivery(b"the whole message\r\n", alice)
        mail.content.close()  # type: ignore[attr-defined]  # a Spool

        with pytest.raises(Exception, match="is gone"):
            store.deliver(mail)

        assert store.uids(alice) == []

    def test_the_longest_sender_fits(self, store: Store) -> None:
        """Whatever the grammar of RFC 5321 allows as a sender is stored."""
        alice = store.add("alice")
        sender = str(Address('"' * 64, ".".join(["d" * 63] * 3 + ["d" * 61])))

        assert store.deliver(store.delivery(b"", alice, sender=sender)) == [None]

    def test_the_trail_tells_each_recipient(self, store: Store) -> None:
        """An administrator finds what became of a message, for whom, from whom."""
        alice, bob = store.add("alice"), store.add("bob")
        mail = store.delivery(b"hello\r\n", alice, bob, sender="eve@example.org")
        store.deliver(mail)

        told = store.do(
            lambda conn: conn.execute(
                select(trail.c.event, trail.c.recipient, trail.c.sender, trail.c.client_ip)
                .where(trail.c.message_id == mail.message)
                .order_by(trail.c.id)
            ).all()
        )

        assert [tuple(row) for row in told] == [
            ("accepted", f"{name}@test.com", "eve@example.org", "192.0.2.1")
            for name in ("alice", "bob")
        ]


class TestAllOrNone:
    """One message, many folders."""

    def test_one_body_for_all(self, store: Store) -> None:
        """A broadcast costs the room of one message; each reader has it."""
        crowd = [store.add(f"user{number}") for number in range(30)]

        store.deliver(store.delivery(b"to all\r\n", *crowd))

        assert store.do(count)[0] == 1
        assert {tuple(store.uids(one)) for one in crowd} == {(1,)}
        store.do(check_books)

    def test_a_full_mailbox_holds_back_all(self, store: Store) -> None:
        """The sender is asked to come again, and nobody gets it twice then."""
        alice, full = store.add("alice"), renamed(store.add("full"), quota_messages=0)

        answers = store.deliver(store.delivery(b"to both\r\n", alice, full))

        assert [type(one) for one in answers] == [MailboxFull]
        assert store.uids(alice) == store.uids(full) == []
        assert store.do(count) == (0, 0)
        assert store.usage(alice) == (1, 0, 0)

    def test_a_recipient_who_is_gone_holds_back_all(self, store: Store) -> None:
        """An account that was deleted after RCPT loses no mail silently."""
        alice, gone = store.add("alice"), store.add("gone")
        store.do(delete_account, gone.address)

        answers = store.deliver(
            store.delivery(b"to both\r\n", alice, gone), store.delivery(b"to her\r\n", alice)
        )

        assert [type(one) for one in answers] == [RecipientGone, type(None)]
        assert store.uids(alice) == [1]
        store.do(check_books)

    def test_many_folders_in_one_transaction(self, store: Store) -> None:
        """A list longer than a statement's parameters is no problem."""
        alice = store.add("alice")
        ghosts = [renamed(alice, inbox=alice.inbox + number) for number in range(1, 1200)]

        answers = store.deliver(
            *(store.delivery(b"", ghost) for ghost in ghosts), store.delivery(b"", alice)
        )

        assert answers[-1] is None
        assert store.uids(alice) == [1]


class TestReports:
    """A report is stored with its message, in one transaction."""

    def reported(self, store: Store, sender: Account, *accounts: Account) -> Delivery:
        """Address a message to accounts, and a report to its sender."""
        report = store.delivery(b"it was delivered\r\n", sender)._replace(event="report")
        mail = store.delivery(b"hello\r\n", *accounts, sender=str(sender.address))
        return mail._replace(reports=(report,))

    def test_the_sender_has_it_with_the_delivery(self, store: Store) -> None:
        """A message to oneself, too: first the message, then the report."""
        alice, bob = store.add("alice"), store.add("bob")
        mail = self.reported(store, alice, bob, alice)

        assert store.deliver(mail) == [None]

        assert store.messages(bob) == [mail.message]
        assert store.messages(alice) == [mail.message, mail.reports[0].message]
        assert store.body(mail.reports[0].message) == TRACE + b"it was delivered\r\n"
        assert mail.weight == mail.octets + mail.reports[0].octets
        store.do(check_books)
        wanted = select(trail.c.event).where(trail.c.message_id == mail.reports[0].message)
        assert store.do(lambda conn: conn.scalars(wanted).all()) == ["report"]

    def test_a_message_that_is_not_stored_is_not_reported(self, store: Store) -> None:
        """Nobody hears of a delivery that was none."""
        alice, full = store.add("alice"), renamed(store.add("full"), quota_messages=0)

        answers = store.deliver(self.reported(store, alice, full))

        assert [type(one) for one in answers] == [MailboxFull]
        assert store.uids(alice) == []

    def test_a_report_never_holds_mail_back(self, store: Store) -> None:
        """When the sender's mailbox is full or gone, only the report is dropped."""
        full, bob = renamed(store.add("full"), quota_messages=0), store.add("bob")
        gone = store.add("gone")
        store.do(delete_account, gone.address)

        answers = store.deliver(self.reported(store, full, bob), self.reported(store, gone, bob))

        assert answers == [None, None]
        assert store.uids(bob) == [1, 2]
        assert store.do(count)[0] == 2
        store.do(check_books)

    def test_a_message_goes_before_a_report(self, store: Store) -> None:
        """The last place in a mailbox is for mail."""
        alice, bob = store.add("alice", quota_messages=1), store.add("bob")
        mail = store.delivery(b"mail\r\n", alice)

        answers = store.deliver(self.reported(store, alice, bob), mail)

        assert answers == [None, None]
        assert store.messages(alice) == [mail.message]


class TestQuota:
    """A limit is a limit, to the octet."""

    def test_the_last_octet_fits_and_one_more_does_not(self, store: Store) -> None:
        """The trace counts too, for it takes room."""
        octets = len(TRACE) + 10
        alice = store.add("alice", quota_octets=2 * octets)

        first = store.deliver(store.delivery(b"x" * 10, alice))
        too_much = store.deliver(store.delivery(b"x" * 11, alice))
        second = store.deliver(store.delivery(b"x" * 10, alice))
        third = store.deliver(store.delivery(b"", alice))

        kinds = [type(one[0]) for one in (first, too_much, second, third)]
        assert kinds == [type(None), MailboxFull, type(None), MailboxFull]
        assert store.usage(alice) == (3, 2, 2 * octets)

    def test_messages_are_counted_within_one_transaction(self, store: Store) -> None:
        """A crowd that arrives at once does not slip through together."""
        alice, bob = store.add("alice", quota_messages=3), store.add("bob")

        answers = store.deliver(
            *(store.delivery(b"", alice) for _ in range(5)), store.delivery(b"", bob)
        )

        refused = [isinstance(one, MailboxFull) for one in answers]
        assert refused == [False, False, False, True, True, False]
        assert store.uids(alice) == [1, 2, 3]

    def test_a_refused_message_takes_no_room(self, store: Store) -> None:
        """What one full mailbox turned away does not count against another's limit."""
        alice, full = (
            store.add("alice", quota_messages=1),
            renamed(store.add("full"), quota_messages=0),
        )

        answers = store.deliver(store.delivery(b"", alice, full), store.delivery(b"", alice))

        assert [type(one) for one in answers] == [MailboxFull, type(None)]


class TestNumbers:
    """Uids tell the order of arrival and are never used again."""

    def test_uids_follow_the_order_of_arrival(self, store: Store) -> None:
        """A client that asks for what is newer than it knows gets exactly that."""
        alice, bob = store.add("alice"), store.add("bob")
        mail = [store.delivery(b"", *one) for one in ([alice], [alice, bob], [bob], [alice])]

        store.deliver(*mail[:3])
        store.deliver(mail[3])

        assert store.messages(alice) == [mail[0].message, mail[1].message, mail[3].message]
        assert store.uids(alice) == [1, 2, 3]
        assert store.uids(bob) == [1, 2]
        assert store.usage(alice)[0] == 4

    def test_a_refused_message_leaves_no_gap(self, store: Store) -> None:
        """Only what is stored gets a number."""
        alice = store.add("alice", quota_octets=len(TRACE) * 2)

        store.deliver(
            *(store.delivery(octets, alice) for octets in (b"", b"x" * 500, b"")),
        )

        assert store.uids(alice) == [1, 2]


ACCOUNTS = st.sampled_from(["alice", "bob", "carol"])
SOMEBODY = st.sets(ACCOUNTS, min_size=1)
OPERATIONS = st.one_of(
    st.tuples(st.just("deliver"), SOMEBODY, st.sampled_from([0, 100, INLINE + 1])),
    st.tuples(st.just("deliver"), SOMEBODY, st.just(7)),
    st.tuples(st.just("expunge"), ACCOUNTS, st.sets(st.integers(1, 8), min_size=1)),
    st.tuples(st.just("delete"), ACCOUNTS, st.none()),
    st.tuples(st.just("purge"), st.integers(1, 3), st.none()),
)


class Model:
    """What should be in the database, in a dict."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.accounts: dict[str, Account] = {}
        self.mail: dict[str, list[int]] = {}

    def account(self, name: str) -> Account:
        """Find or make an account."""
        if name not in self.accounts:
            self.accounts[name] = self.store.add(name)
            self.mail[name] = []
        return self.accounts[name]

    def deliver(self, names: set[str], octets: int) -> None:
        """Deliver to some accounts."""
        mail = self.store.delivery(body(octets), *map(self.account, sorted(names)))
        assert list(self.store.deliver(mail)) == [None]
        for name in names:
            self.mail[name].append(mail.message)

    def expunge(self, name: str, places: set[int]) -> None:
        """Remove some messages, some of which there are not."""
        account = self.account(name)
        uids = self.store.uids(account)
        chosen = [uids[place] for place in sorted(places) if place < len(uids)]
        self.mail[name] = [one for place, one in enumerate(self.mail[name]) if place not in places]
        lease = self.store.lease(account)
        self.store.do(expunge, lease, [*chosen, 1_000_000])
        self.store.do(drop_leases, account.id)

    def delete(self, name: str, _: None) -> None:
        """Delete an account."""
        if name in self.accounts:
            self.store.do(delete_account, self.accounts.pop(name).address)
            del self.mail[name]

    def purge(self, most: int, _: None) -> None:
        """Purge some bodies."""
        self.store.do(purge_bodies, most)

    def check(self) -> None:
        """Compare."""
        self.store.do(check_books)
        for name, account in self.accounts.items():
            assert self.store.messages(account) == self.mail[name]


def test_the_books_are_right_whatever_happens(engines: Engines) -> None:
    """
    Usage is the sum of what is there, all mail is somebody's, and rubbish goes.

    Deliveries, removals, deleted accounts and purges in any order.
    """
    store = Store(engines)

    @settings(max_examples=15)
    @given(operations=st.lists(OPERATIONS, max_size=15))
    def holds(operations: list[tuple[str, Any, Any]]) -> None:
        store.do(clear)
        model = Model(store)
        for name, first, second in operations:
            getattr(model, name)(first, second)
            model.check()
        while store.do(purge_bodies):
            pass
        model.check()
        assert store.do(orphans) == set()
        assert store.do(lambda conn: conn.scalar(select(func.count()).select_from(released))) == 0
        assert store.do(count)[0] == len({one for mail in model.mail.values() for one in mail})

    holds()


def clear(conn: Connection) -> None:
    """Empty all tables."""
    for table in reversed(metadata.sorted_tables):
        conn.execute(table.delete())


class TestManyAtOnce:
    """Real threads, real transactions."""

    def test_a_crowd_is_stored_in_the_order_it_came(self, store: Store, database_url: str) -> None:
        """One node never swaps two messages of one folder."""
        alice, bob = store.add("alice"), store.add("bob")
        pump = Pump()
        with running(database_url, pump, node=1) as database:
            deliver = DeliverBatch(database.ids)
            mail = [
                store.delivery(b"x" * number, alice, *([bob] * (number % 3 == 0)))
                for number in range(120)
            ]
            waiting = [
                pump.start(database.write_batch(deliver, one, octets=one.octets, shard=alice.inbox))
                for one in mail
            ]
            for one in waiting:
                one.result()

        assert store.messages(alice) == [one.message for one in mail]
        assert store.messages(bob) == [one.message for one in mail[::3]]
        assert store.usage(alice)[0] == 121
        store.do(check_books)

    @pytest.mark.parametrize("kind", SERVERS)
    def test_two_nodes_share_folders(self, store: Store, database_url: str) -> None:
        """No uid is lost or given twice, and nobody waits for ever."""
        crowd = [store.add(f"user{number}") for number in range(6)]
        pump = Pump()
        small = DatabaseSettings(batch_messages=5)
        with (
            running(database_url, pump, node=1, settings=small) as one,
            running(database_url, pump, node=2, settings=small) as other,
        ):
            waiting = []
            nodes = [(node, DeliverBatch(node.ids)) for node in (one, other)]
            for number in range(80):
                readers = [crowd[(number + step) % 6] for step in (5, 0, 2)]
                for node, deliver in nodes:
                    mail = store.delivery(b"x", *readers)
                    waiting.append(pump.start(node.write_batch(deliver, mail, shard=number)))
            for outcome in waiting:
                outcome.result()

        assert sum(len(store.uids(one)) for one in crowd) == 80 * 2 * 3
        for account in crowd:
            uids = store.uids(account)
            assert uids == list(range(1, len(uids) + 1))
            assert store.usage(account)[0] == len(uids) + 1
        store.do(check_books)

    @pytest.mark.parametrize("kind", SERVERS)
    def test_two_nodes_deliver_and_remove_at_once(self, store: Store, database_url: str) -> None:
        """Whoever stands in another's way is tried again: nothing fails, nothing is lost."""
        crowd = [store.add(f"user{number}") for number in range(4)]
        leases = [store.lease(one) for one in crowd]
        pump = Pump()
        small = DatabaseSettings(batch_messages=5)
        with (
            running(database_url, pump, node=1, settings=small) as one,
            running(database_url, pump, node=2, settings=small) as other,
        ):
            waiting = []
            nodes = [(node, DeliverBatch(node.ids)) for node in (one, other)]
            for number in range(40):
                for node, deliver in nodes:
                    mail = store.delivery(b"x", *(crowd[(number + step) % 4] for step in (3, 1)))
                    waiting.append(pump.start(node.write_batch(deliver, mail, shard=number)))
                    lease = leases[(number * 3) % 4]
                    waiting.append(pump.start(node.write(expunge, lease, [number // 4])))
            for outcome in waiting:
                outcome.result()

        store.do(check_books)
        assert sum(store.usage(one)[0] - 1 for one in crowd) == 40 * 2 * 2

    @pytest.mark.parametrize("kind", SERVERS)
    def test_mail_for_an_account_that_is_being_deleted_leaves_nothing(
        self, store: Store, other_node: Store, database_url: str
    ) -> None:
        """What arrives at the last moment goes with the account, body included."""
        alice = store.add("alice")
        pump = Pump()
        with running(database_url, pump, node=2) as database:
            with other_node.engines.write.begin() as theirs:
                DeliverBatch(other_node.ids)(theirs, [other_node.delivery(b"late\r\n", alice)])
                deletion = pump.start(database.write(delete_account, alice.address))
                wait_for_a_waiter(store.engines.write)
            deletion.result()

        store.do(purge_bodies)
        assert store.do(orphans) == set()
        assert store.do(count) == (0, 0)

    @pytest.mark.parametrize("kind", SERVERS)
    def test_both_writers_have_work(self, database_url: str) -> None:
        """Folders are spread over the writers, however their numbers were made."""
        pump = Pump()
        threads: set[int | None] = set()
        with running(database_url, pump, settings=DatabaseSettings(writers=2)) as database:
            for number in range(12):
                # As made one a millisecond by one node: the low bits are always the same.
                shard = ((1_700_000_000_000 + number * 37) << 21) | 2
                threads.add(pump.finish(database.write_batch(thread_name, number, shard=shard)))

        assert len(threads) == 2


def thread_name(_conn: Connection, items: Sequence[int]) -> list[int | None]:
    """Tell who works: a batch query."""
    return [current_thread().ident for _ in items]
