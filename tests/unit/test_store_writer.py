"""Group commit: what waits is written together, and what fails fails alone."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, insert, select, text, update
from twisted.internet.defer import Deferred

from mailsvc.config.settings import DatabaseSettings
from mailsvc.errors import NotFound, StorageFailed, StorageFull, TooBusy
from mailsvc.store.database import Database
from mailsvc.store.engine import Engines
from mailsvc.store.tables import domain
from tests.support.database_servers import SERVERS
from tests.support.mail_store import NOON, Gate, counted, running
from tests.support.pump import PATIENCE, Outcome, Pump

ONE_WRITER = DatabaseSettings(readers=1, writers=1)


@pytest.fixture
def pump() -> Pump:
    """Be the reactor."""
    return Pump()


@pytest.fixture
def database(database_url: str, pump: Pump) -> Iterator[Database]:
    """Run a database with one writer and one reader."""
    with running(database_url, pump, settings=ONE_WRITER) as started:
        yield started


def note(conn: Connection, numbers: Sequence[int]) -> list[int]:
    """Write a row for each number: a batch query."""
    conn.execute(
        insert(domain),
        [
            {"id": number, "name": f"{number}.test", "enabled": True, "created": NOON}
            for number in numbers
        ],
    )
    return [-number for number in numbers]


def note_but_not_13(conn: Connection, numbers: Sequence[int]) -> list[int]:
    """Fail after everything was written: the 13 is a bug of ours."""
    answers = note(conn, numbers)
    if 13 in numbers:
        raise ZeroDivisionError
    return answers


def note_even(conn: Connection, numbers: Sequence[int]) -> list[int | Exception]:
    """Answer an error for each odd number, and write the others."""
    note(conn, [number for number in numbers if number % 2 == 0])
    return [NotFound("odd") if number % 2 else number for number in numbers]


def noted(conn: Connection) -> list[int]:
    """List what was written."""
    return list(conn.scalars(select(domain.c.id).order_by(domain.c.id)))


def end_session(conn: Connection, administrator: Engine) -> None:
    """Let the server's administrator end the session of this connection."""
    who, end = {
        "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
        "mysql": ("SELECT CONNECTION_ID()", "KILL {}"),
    }[conn.dialect.name]
    number = conn.scalar(text(who))
    with administrator.connect() as root:
        root.execute(text(end.format(number)))
        root.commit()


def fail_with(conn: Connection, postgresql: str, mariadb: int) -> None:
    """Let the server refuse the transaction with an error of its own."""
    conn.execute(
        text(
            f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{postgresql}'; END $$"
            if conn.dialect.name == "postgresql"
            else f"SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {mariadb}"
        )
    )


def submit_behind(
    gate: Gate, database: Database, pump: Pump, query: Any, numbers: Sequence[int], octets: int = 0
) -> list[Outcome[Any]]:
    """Let some items wait while the writer is busy, then let it go on."""
    _ = gate.close(database, pump)
    waiting = [pump.start(database.write_batch(query, number, octets=octets)) for number in numbers]
    gate.opened.set()
    return waiting


def error_of(outcome: Outcome[Any]) -> type[BaseException] | None:
    """Wait for an outcome and tell its error; None: it went well."""
    try:
        outcome.result()
    except Exception as error:  # noqa: BLE001 - that is the question
        return type(error)
    return None


@contextmanager
def begun() -> Iterator[list[object]]:
    """Count all transactions that were begun meanwhile, also in vain."""
    tries: list[object] = []

    def note_begin(conn: Connection) -> None:
        tries.append(conn.dialect.name)

    event.listen(Engine, "begin", note_begin)
    try:
        yield tries
    finally:
        event.remove(Engine, "begin", note_begin)


class TestGroups:
    """What waits shares one transaction."""

    def test_what_waits_shares_one_commit(
        self, database: Database, pump: Pump, engines: Engines
    ) -> None:
        """A busy server waits for its disk once for many messages."""
        with counted() as commits:
            waiting = submit_behind(Gate(), database, pump, note, range(1, 51))
            assert [one.result() for one in waiting] == [-number for number in range(1, 51)]

        assert len(commits) == 2  # the gate's own, and one for all
        with engines.read.begin() as connection:
            assert noted(connection) == list(range(1, 51))

    @pytest.mark.parametrize(
        ("settings", "octets"),
        [
            (DatabaseSettings(readers=1, writers=1, batch_messages=10), 0),
            (DatabaseSettings(readers=1, writers=1, batch_octets=1000), 100),
        ],
    )
    @pytest.mark.parametrize("kind", ["sqlite"])
    def test_a_transaction_has_limits(
        self, database_url: str, pump: Pump, settings: DatabaseSettings, octets: int
    ) -> None:
        """Neither many messages nor large ones make the others wait for long."""
        with (
            running(database_url, pump, settings=settings) as database,
            counted() as commits,
        ):
            for one in submit_behind(Gate(), database, pump, note, range(1, 41), octets):
                one.result()

        assert len(commits) in {5, 6}  # four of ten, the gate's, which may have taken company

    def test_an_answer_comes_after_its_commit(
        self, database: Database, pump: Pump, engines: Engines
    ) -> None:
        """Whoever hears "stored" finds it stored, on any other connection, at once."""
        seen: list[list[int]] = []

        def look(_answer: object) -> None:
            with engines.read.begin() as connection:
                seen.append(noted(connection))

        work = database.write_batch(note, 7)
        pump.finish(Deferred.fromCoroutine(work).addCallback(look))

        assert seen == [[7]]


class TestFaults:
    """What fails fails alone."""

    def test_a_poisoned_item_fails_alone(
        self, database: Database, pump: Pump, engines: Engines
    ) -> None:
        """Its neighbours get in, and nothing of it is there."""
        waiting = submit_behind(Gate(), database, pump, note_but_not_13, range(10, 17))

        errors = [error_of(one) for one in waiting]

        assert errors == [None, None, None, ZeroDivisionError, None, None, None]
        with engines.read.begin() as connection:
            assert noted(connection) == [10, 11, 12, 14, 15, 16]

    def test_a_key_that_is_taken_fails_alone(
        self, database: Database, pump: Pump, engines: Engines
    ) -> None:
        """The engine's own refusal is no different."""
        pump.finish(database.write_batch(note, 2))

        waiting = submit_behind(Gate(), database, pump, note, [1, 2, 3])

        assert [error_of(one) for one in waiting] == [None, StorageFailed, None]
        with engines.read.begin() as connection:
            assert noted(connection) == [1, 2, 3]

    def test_a_refused_item_leaves_the_transaction_whole(
        self, database: Database, pump: Pump
    ) -> None:
        """A full mailbox in a batch costs the others nothing, not even a second try."""
        with counted() as commits:
            waiting = submit_behind(Gate(), database, pump, note_even, [1, 2, 3, 4])
            assert [error_of(one) for one in waiting] == [NotFound, None, NotFound, None]

        assert len(commits) == 2
        assert pump.finish(database.run(noted)) == [2, 4]

    def test_kinds_share_a_transaction(self, database: Database, pump: Pump) -> None:
        """A login does not wait behind mail, nor mail behind a login."""
        gate = Gate()
        _ = gate.close(database, pump)
        first = pump.start(database.write_batch(note, 1))
        second = pump.start(database.write(lambda conn: note(conn, [2])[0]))
        third = pump.start(database.write_batch(note, 3))
        with counted() as commits:
            gate.opened.set()
            assert [first.result(), second.result(), third.result()] == [-1, -2, -3]

        assert len(commits) in {1, 2}

    def test_a_query_tells_its_own_error(self, database: Database, pump: Pump) -> None:
        """An administrator reads what was wrong with his command, not that storage failed."""

        def refuse(conn: Connection) -> None:
            note(conn, [1])
            raise NotFound("there is no such thing")

        for ask in (database.run, database.write):
            with pytest.raises(NotFound, match="no such thing"):
                pump.finish(ask(refuse if ask == database.write else refuse_only))

        assert pump.finish(database.run(noted)) == []


def refuse_only(_conn: Connection) -> None:
    """Refuse."""
    raise NotFound("there is no such thing")


@pytest.mark.parametrize("kind", ["sqlite"])
class TestLimits:
    """How much may wait, and what becomes of it at the end."""

    def test_too_much_is_refused_at_once(self, database_url: str, pump: Pump) -> None:
        """A client hears "try again later" now instead of waiting without end."""
        settings = DatabaseSettings(waiting_messages=3)
        with running(database_url, pump, settings=settings) as database:
            gate = Gate()
            busy = gate.close(database, pump)
            waiting = [pump.start(database.write_batch(note, number)) for number in (1, 2)]

            refused = pump.start(database.write_batch(note, 3))
            with pytest.raises(TooBusy):
                refused.result()
            assert database.waiting == 3

            gate.opened.set()
            pump.finish(busy)
            assert [one.result() for one in waiting] == [-1, -2]
            assert database.waiting == 0
            assert pump.finish(database.write_batch(note, 4)) == -4

    def test_stopping_commits_all_that_waits(
        self, database_url: str, pump: Pump, engines: Engines
    ) -> None:
        """A message that is under way when the service stops is stored and answered."""
        settings = DatabaseSettings(batch_messages=7)
        with running(database_url, pump, settings=settings) as database:
            waiting = submit_behind(Gate(), database, pump, note, range(1, 51))

        pump.drain()
        assert [list(one) for one in waiting] == [[-number] for number in range(1, 51)]
        with engines.read.begin() as connection:
            assert noted(connection) == list(range(1, 51))

    @pytest.mark.parametrize("ask", ["run", "write"])
    def test_nothing_waits_for_a_database_that_has_stopped(
        self, database_url: str, pump: Pump, ask: str
    ) -> None:
        """Whoever comes too late is told so; he does not hang."""
        with running(database_url, pump) as database:
            pass

        with pytest.raises(StorageFailed):
            pump.finish(getattr(database, ask)(noted))

    def test_who_gave_up_waiting_disturbs_nobody(self, database: Database, pump: Pump) -> None:
        """A client that is thrown out at the end of the stop takes no other's answer along."""
        gate = Gate()
        _ = gate.close(database, pump)
        first, second = (pump.start(database.write_batch(note, number)) for number in (1, 2))
        first.answer.cancel()
        gate.opened.set()

        assert second.result() == -2


class TestDisk:
    """The disk is full."""

    @pytest.mark.parametrize("kind", ["sqlite"])
    def test_a_full_disk_is_told_and_over_when_there_is_room(
        self, database: Database, pump: Pump
    ) -> None:
        """The peer hears that storage is full; mail comes in again without a restart."""

        def limit_pages(conn: Connection, more: int) -> None:
            pages: int = conn.exec_driver_sql("PRAGMA page_count").scalar_one()
            conn.exec_driver_sql(f"PRAGMA max_page_count = {pages + more}").scalar_one()

        pump.finish(database.write(limit_pages, 0))
        late = pump.start(database.write_batch(note, 0))
        waiting = submit_behind(Gate(), database, pump, note, range(1, 2001))
        errors = {error_of(one) for one in (late, *waiting)}
        assert StorageFull in errors
        assert errors <= {StorageFull, None}

        pump.finish(database.write(limit_pages, 1000))
        assert pump.finish(database.write_batch(note, 5000)) == -5000


@pytest.mark.parametrize("kind", ["sqlite"])
class TestLockedFile:
    """Another program, such as a backup, keeps the SQLite file locked."""

    def test_all_who_wait_hear_of_it_together(
        self, database_url: str, database: Database, pump: Pump
    ) -> None:
        """Each on its own would wait for the lock in turn: for hours, when many wait."""
        quick = "PRAGMA busy_timeout = 20"
        pump.finish(database.write(lambda conn: conn.exec_driver_sql(quick).close()))
        other = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        with begun() as tries:
            waiting = [pump.start(database.write_batch(note, number)) for number in range(20)]
            errors = [error_of(one) for one in waiting]

        assert errors == [StorageFailed] * 20
        assert len(tries) < 10
        other.execute("ROLLBACK")
        other.close()
        assert pump.finish(database.write_batch(note, 30)) == -30


@pytest.mark.parametrize("kind", SERVERS)
class TestLostConnections:
    """The server went away, and came back."""

    def test_a_loss_in_mid_transaction_is_told(
        self, database: Database, pump: Pump, engines: Engines
    ) -> None:
        """All that were in it hear "try again later"; the next one is stored."""

        def break_down(conn: Connection, numbers: Sequence[int]) -> list[int]:
            answers = note(conn, numbers)
            end_session(conn, engines.write)
            conn.execute(select(1))
            return answers

        waiting = submit_behind(Gate(), database, pump, break_down, [1, 2, 3])

        assert [error_of(one) for one in waiting] == [StorageFailed] * 3
        assert pump.finish(database.write_batch(note, 4)) == -4
        assert pump.finish(database.run(noted)) == [4]

    def test_a_loss_in_the_commit_is_never_repeated(
        self, database: Database, pump: Pump, engines: Engines
    ) -> None:
        """Nobody knows whether it was stored, so the peer decides: no message comes twice."""
        runs: list[int] = []

        def break_down(conn: Connection, numbers: Sequence[int]) -> Sequence[int]:
            runs.append(len(numbers))
            note(conn, numbers)
            end_session(conn, engines.write)
            return numbers

        waiting = submit_behind(Gate(), database, pump, break_down, [1, 2, 3])

        assert [error_of(one) for one in waiting] == [StorageFailed] * 3
        assert runs == [3]
        assert pump.finish(database.write_batch(note, 4)) == -4

    def test_a_connection_lost_while_idle_is_not_noticed(
        self, database: Database, pump: Pump, engines: Engines
    ) -> None:
        """A server that was restarted, or ends idle sessions, refuses no mail and no login."""
        for _ in range(2):
            sessions: list[Any] = []
            query = session_number(engines.write.dialect.name)
            sessions.append(pump.finish(database.run(query)))
            sessions.append(pump.finish(database.write(query)))
            for number in sessions:
                end_number(engines.write, number)

            known = pump.finish(database.run(noted))
            assert pump.finish(database.write_batch(note, len(known) + 1)) == -len(known) - 1

    def test_a_reader_survives_a_loss_and_an_error_at_once(
        self, database: Database, pump: Pump, engines: Engines
    ) -> None:
        """A question that fails on the new connection does not spoil it for the next one."""
        end_number(
            engines.write, pump.finish(database.run(session_number(engines.write.dialect.name)))
        )

        def ask_and_refuse(conn: Connection) -> None:
            noted(conn)
            raise NotFound("it is not there")

        with pytest.raises(NotFound):
            pump.finish(database.run(ask_and_refuse))

        assert pump.finish(database.run(noted)) == []

    def test_a_loss_while_reading_is_told(
        self, database: Database, pump: Pump, engines: Engines
    ) -> None:
        """A question that always ends its session is asked twice, not for ever."""

        def break_down(conn: Connection) -> None:
            end_session(conn, engines.write)
            conn.execute(select(1))

        with pytest.raises(StorageFailed):
            pump.finish(database.run(break_down))

        assert pump.finish(database.run(noted)) == []


def session_number(dialect: str) -> Callable[[Connection], int]:
    """Make a query that tells its own session's number."""
    who = "pg_backend_pid()" if dialect == "postgresql" else "CONNECTION_ID()"

    def ask(conn: Connection) -> int:
        return int(conn.execute(text(f"SELECT {who}")).scalar_one())

    return ask


def end_number(administrator: Engine, number: int) -> None:
    """End a session, and return when it has ended."""
    with administrator.connect() as root:
        if administrator.dialect.name == "postgresql":
            root.execute(text(f"SELECT pg_terminate_backend({number}, 5000)"))
            return
        root.execute(text(f"KILL {number}"))
        there = text("SELECT ID, SLEEP(0.01) FROM information_schema.processlist WHERE ID = :id")
        for _ in range(500):
            if not root.execute(there, {"id": number}).all():
                return


@pytest.mark.parametrize("kind", SERVERS)
class TestConflicts:
    """Two nodes are in each other's way."""

    @pytest.mark.parametrize(
        ("postgresql_code", "mariadb_code"), [("40001", 1020), ("40P01", 1213), ("40001", 1205)]
    )
    @pytest.mark.parametrize("count", [1, 3])
    def test_a_conflict_is_tried_again(
        self, database: Database, pump: Pump, postgresql_code: str, mariadb_code: int, count: int
    ) -> None:
        """Nobody hears of it; what was together stays together."""
        runs: list[int] = []

        def lose_twice(conn: Connection, numbers: Sequence[int]) -> list[int]:
            runs.append(len(numbers))
            answers = note(conn, numbers)
            if len(runs) < 3:
                fail_with(conn, postgresql_code, mariadb_code)
            return answers

        numbers = range(1, count + 1)
        waiting = submit_behind(Gate(), database, pump, lose_twice, numbers)

        assert [one.result() for one in waiting] == [-number for number in numbers]
        assert runs == [count] * 3
        assert pump.finish(database.run(noted)) == list(numbers)

    def test_an_endless_conflict_is_told(self, database: Database, pump: Pump) -> None:
        """After a few tries the peer is asked to come again."""
        runs: list[int] = []

        def lose(conn: Connection) -> None:
            runs.append(1)
            fail_with(conn, "40001", 1213)

        with pytest.raises(StorageFailed):
            pump.finish(database.write(lose))

        assert 2 <= len(runs) <= 10

    def test_a_real_deadlock_harms_nobody(self, database_url: str, pump: Pump) -> None:
        """The server undoes one of the two, and that one is tried again: both are stored."""
        both = Barrier(2)
        runs: list[int] = []

        def change(conn: Connection, first: int, second: int) -> None:
            runs.append(first)
            for number in (first, second):
                wanted = domain.c.id == number
                conn.execute(update(domain).where(wanted).values(catch_all=f"{first}@x.test"))
                if number == first and len(runs) <= 2:
                    both.wait(PATIENCE)

        with (
            running(database_url, pump, node=1, settings=ONE_WRITER) as one,
            running(database_url, pump, node=2, settings=ONE_WRITER) as other,
        ):
            pump.finish(one.write(note, [1, 2]))
            outcomes = [pump.start(one.write(change, 1, 2)), pump.start(other.write(change, 2, 1))]
            for outcome in outcomes:
                outcome.result()

        # One of them at least once more; a slow server may undo the second try, too.
        assert set(runs) == {1, 2}
        assert len(runs) > 2
