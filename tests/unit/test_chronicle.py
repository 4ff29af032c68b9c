"""What happens is taken down without anybody waiting for the database; on every database."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailsvc.errors import StorageFailed
from mailsvc.model.ids import AccountId, MessageId
from mailsvc.model.story import Happening, StoryFilter
from mailsvc.service import chronicle
from mailsvc.service.chronicle import BATCH, EVERY, Chronicle
from mailsvc.store.engine import Engines
from mailsvc.store.stories import (
    header_key,
    search_stories,
    trace_header,
    trace_number,
    write_stories,
)
from mailsvc.store.tables import trail
from tests.support.control_office import Office, open_office
from tests.support.mail_store import Store


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Give a database that answers at once."""
    with open_office(tmp_path) as opened:
        yield opened


def _refused(recipient: str) -> Happening:
    return Happening("refused", "192.0.2.7", recipient=recipient, status="5.1.1", detail="550 no")


def _count(office: Office) -> int:
    with office.engines.read.begin() as conn:
        wanted = select(func.count()).select_from(trail).where(trail.c.event == "refused")
        return conn.scalar(wanted) or 0


class TestChronicle:
    """The service that writes."""

    def test_rows_wait_a_second(self, office: Office) -> None:
        """They are written together, and in the order in which they came."""
        clock = Clock()
        book = Chronicle(office.database, clock)
        book.startService()
        for number in range(BATCH - 1):
            book.note(_refused(f"user{number}@test.com"))
        assert _count(office) == 0

        clock.advance(EVERY)

        with office.engines.read.begin() as conn:
            found = search_stories(conn, StoryFilter(event="refused"), None, BATCH)
        told = [one.recipient for one in reversed(found)]
        assert told == [f"user{number}@test.com" for number in range(BATCH - 1)]

    def test_so_many_do_not_wait(self, office: Office) -> None:
        """A busy second has more than memory should hold."""
        clock = Clock()
        book = Chronicle(office.database, clock)
        book.startService()

        for _ in range(2 * BATCH + 1):
            book.note(_refused("a@test.com"))
        assert _count(office) == 2 * BATCH

        clock.advance(EVERY)
        assert _count(office) == 2 * BATCH + 1

    def test_what_comes_meanwhile_waits_for_the_next_round(self, office: Office) -> None:
        """Else each commit would be followed by one of the few rows that came during it."""
        clock = Clock()
        book = Chronicle(office.database, clock)
        book.startService()
        writes = []

        async def slow_write(query: Callable[..., object], rows: Sequence[object]) -> None:
            del query
            writes.append(len(rows))
            if len(writes) < 9:
                book.note(_refused("late@test.com"))

        office.database.write = slow_write  # type: ignore[assignment]  # the test's
        book.note(_refused("a@test.com"))

        clock.advance(EVERY)
        assert writes == [1]

        clock.advance(EVERY)
        assert writes == [1, 1]

    def test_a_database_that_does_not_answer_loses_nothing(self, office: Office) -> None:
        """They wait until it does."""
        clock = Clock()
        book = Chronicle(office.database, clock)
        book.startService()
        office.database.broken = StorageFailed("down")
        book.note(_refused("a@test.com"))
        clock.advance(EVERY)
        office.database.broken = None
        assert _count(office) == 0

        clock.advance(EVERY)

        assert _count(office) == 1

    def test_what_users_did_with_messages_is_written_in_order(self, office: Office) -> None:
        """At the next round; the numbers grow, so the rows stand in the order of the acts."""
        clock = Clock()
        book = Chronicle(office.database, clock)
        book.startService()
        who = ("192.0.2.7", AccountId(5), "alice@test.com")
        acts = [("retrieved", *who, number) for number in range(BATCH)]
        acts += [("removed", *who, number) for number in range(3)]

        for act in acts:
            book.handled.append(act)
        clock.advance(EVERY)

        with office.engines.read.begin() as conn:
            found = search_stories(conn, StoryFilter(client_ip="192.0.2.7"), None, 2 * BATCH)
        told = [(one.event, one.recipient, int(one.message, 16)) for one in reversed(found)]
        assert told == [(event, who[2], number) for event, *_, number in acts]
        assert book.handled == []

    def test_a_login_stands_behind_what_was_fetched_before_it(self, office: Office) -> None:
        """Though its row is made at once."""
        clock = Clock()
        book = Chronicle(office.database, clock)
        book.startService()
        book.handled.append(("removed", "192.0.2.7", AccountId(5), "a@test.com", 1))
        book.note(Happening("login", "192.0.2.7"))

        clock.advance(EVERY)

        with office.engines.read.begin() as conn:
            found = search_stories(conn, StoryFilter(client_ip="192.0.2.7"), None, 9)
        assert [one.event for one in found] == ["login", "removed"]

    def test_what_is_fetched_while_a_write_stands_still_has_its_time(self, office: Office) -> None:
        """Numbers are given each second; the write may take half a minute."""
        clock = Clock()
        book = Chronicle(office.database, clock)
        book.startService()
        write, gate = office.database.write, Deferred[None]()

        async def slow_write(query: Callable[..., object], rows: Sequence[object]) -> None:
            await gate
            await write(query, rows)

        office.database.write = slow_write  # type: ignore[assignment]  # the test's
        book.note(_refused("a@test.com"))
        clock.advance(EVERY)
        book.handled.append(("refused", "192.0.2.7", AccountId(5), "", 1))
        clock.advance(EVERY)
        assert book.handled == []
        assert _count(office) == 0

        gate.callback(None)
        clock.advance(EVERY)

        assert _count(office) == 2

    def test_what_comes_during_the_last_write_is_written_too(self, office: Office) -> None:
        """Nothing that was noted is lost by a stop."""
        book = Chronicle(office.database, Clock())
        book.startService()
        write, late = office.database.write, ["late@test.com"]

        async def slow_write(query: Callable[..., object], rows: Sequence[object]) -> None:
            await write(query, rows)
            while late:
                book.note(_refused(late.pop()))

        office.database.write = slow_write  # type: ignore[assignment]  # the test's
        book.note(_refused("a@test.com"))

        _ = book.stopService()

        assert _count(office) == 2

    def test_a_stop_does_not_wait_for_a_database_that_is_gone(self, office: Office) -> None:
        """What waits is lost then, and the log tells why."""
        book = Chronicle(office.database, Clock())
        book.startService()
        office.database.broken = StorageFailed("down")
        book.note(_refused("a@test.com"))

        _ = book.stopService()

        office.database.broken = None
        assert _count(office) == 0

    def test_too_many_acts_are_counted_too(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Memory has an end, also while the database does not answer."""
        monkeypatch.setattr(chronicle, "MOST_WAITING", 3)
        clock = Clock()
        book = Chronicle(office.database, clock)
        book.startService()
        office.database.broken = StorageFailed("down")
        for _ in range(2):
            for number in range(5):
                book.handled.append(("refused", "192.0.2.7", AccountId(5), "", number))
            clock.advance(EVERY)
        office.database.broken = None

        clock.advance(EVERY)

        assert _count(office) == 3

    def test_too_many_are_counted(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        """Memory has an end."""
        monkeypatch.setattr(chronicle, "MOST_WAITING", 3)
        clock = Clock()
        book = Chronicle(office.database, clock)
        book.startService()
        for _ in range(5):
            book.note(_refused("a@test.com"))

        clock.advance(EVERY)

        assert _count(office) == 3

    def test_the_last_ones_are_written_at_the_end(self, office: Office) -> None:
        """Nothing that was noted is lost by a stop."""
        book = Chronicle(office.database, Clock())
        book.startService()
        book.note(_refused("a@test.com"))

        _ = book.stopService()

        assert _count(office) == 1


class TestStories:
    """Reading."""

    @pytest.fixture
    def store(self, engines: Engines) -> Store:
        """Give a store with three rows."""
        store = Store(engines)
        alice = store.add("alice")
        rows = [
            Happening("login", "192.0.2.7", alice.id, "alice"),
            Happening("refused", "192.0.2.8", None, "x@a.org", "bob@test.com", None, None, "5.1.1"),
            Happening("removed", "192.0.2.7", alice.id, message=MessageId(255)),
        ]
        store.do(write_stories, [(store.ids.next(), *one) for one in rows])
        return store

    def test_rows_that_are_there_are_not_written_again(self, store: Store) -> None:
        """A database that was lost in its commit does not keep all later rows out for ever."""
        rows = [(store.ids.next(), *_refused(f"user{number}@test.com")) for number in range(3)]
        store.do(write_stories, rows[:2])

        for _ in range(2):
            store.do(write_stories, rows)

        found = store.do(
            search_stories, StoryFilter(client_ip="192.0.2.7", event="refused"), None, 9
        )
        told = [f"user{number}@test.com" for number in range(3)]
        assert [one.recipient for one in reversed(found)] == told

    @pytest.mark.parametrize(
        ("only", "events"),
        [
            (StoryFilter(), ["removed", "refused", "login"]),
            (StoryFilter(account="alice@test.com"), ["removed", "login"]),
            (StoryFilter(address="bob@test.com"), ["refused"]),
            (StoryFilter(address="x@a.org"), ["refused"]),
            (StoryFilter(client_ip="192.0.2.7", event="login"), ["login"]),
            (StoryFilter(since=datetime.now(UTC) + timedelta(days=1)), []),
            (StoryFilter(until=datetime.now(UTC) - timedelta(days=1)), []),
        ],
    )
    def test_rows_are_searched(self, store: Store, only: StoryFilter, events: list[str]) -> None:
        """The latest first."""
        found = store.do(search_stories, only, None, 10)

        assert [one.event for one in found] == events

    def test_pages_follow_each_other(self, store: Store) -> None:
        """Nothing twice, nothing missed."""
        first = store.do(search_stories, StoryFilter(), None, 2)
        rest = store.do(search_stories, StoryFilter(), first[-1].number, 2)

        assert [one.event for one in (*first, *rest)] == ["removed", "refused", "login"]

    def test_a_row_tells_all(self, store: Store) -> None:
        """Who it was, by address, and when."""
        [removed] = store.do(trace_number, 255)

        assert (removed.message, removed.account) == (f"{255:016x}", "alice@test.com")
        assert abs(datetime.now(UTC) - removed.at) < timedelta(minutes=5)

    def test_a_message_is_found_by_its_message_id(self, store: Store) -> None:
        """With or without brackets; another one is not."""
        now = datetime.now(UTC)
        alice = store.add("carol")
        mail = store.delivery(b"x", alice)._replace(
            received=now, header_key=header_key(b"<1@a.org>", now)
        )
        store.deliver(mail)
        since = now - timedelta(days=90)

        for text in (b"<1@a.org>", b"1@a.org", b" <1@a.org> "):
            [row] = store.do(trace_header, text, since)
            assert (row.event, row.recipient) == ("accepted", "carol@test.com")
        assert store.do(trace_header, b"<2@a.org>", since) == []
        assert store.do(trace_header, b"<1@a.org>", now + timedelta(hours=2)) == []

    def test_no_message_id_has_no_key(self) -> None:
        """Nor is it looked for."""
        assert header_key(None, datetime.now(UTC)) is None
