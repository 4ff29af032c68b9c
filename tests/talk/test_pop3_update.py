"""How a session ends; RFC 1939 sections 3 and 6."""

import pytest
from twisted.internet.defer import Deferred

from mailsvc.config.settings import Pop3Settings, Settings
from mailsvc.errors import StorageFailed
from mailsvc.model.account import Account
from tests.support.pop3_talk import PASSWORD, PostOffice, faults, logs


@pytest.fixture
def office() -> PostOffice:
    """Nobody is there yet."""
    return PostOffice()


@pytest.fixture
def alice(office: PostOffice) -> Account:
    """Alice has two messages."""
    return office.add(b"alice", b"one\r\n", b"two\r\n")


class TestQuit:
    """The UPDATE state."""

    def test_it_removes_what_is_marked(self, office: PostOffice, alice: Account) -> None:
        """And nothing else."""
        office.log_in().says(b"DELE 1", b"QUIT").hears(b"+OK", b"+OK").is_hung_up_on()
        assert office.maildrops.mail_of(alice) == [b"two\r\n"]

    def test_rset_leaves_nothing_to_remove(self, office: PostOffice, alice: Account) -> None:
        """The marks are gone."""
        office.log_in().says(b"DELE 1", b"RSET", b"QUIT").hears(b"+OK", b"+OK", b"+OK")
        assert len(office.maildrops.mail_of(alice)) == 2

    def test_mail_that_came_meanwhile_stays(self, office: PostOffice, alice: Account) -> None:
        """It had no number in this session."""
        talk = office.log_in().says(b"DELE 1", b"DELE 2").hears(b"+OK", b"+OK")
        office.maildrops.fill(alice, b"three\r\n")
        talk.says(b"STAT", b"QUIT").hears(b"+OK 0 0", b"+OK")
        assert office.maildrops.mail_of(alice) == [b"three\r\n"]

    def test_the_client_may_come_back_at_once(self, office: PostOffice, alice: Account) -> None:
        """The maildrop is free before +OK is said."""
        gate: Deferred[None] = Deferred()
        office.maildrops.gates["release"] = gate
        talk = office.log_in().says(b"QUIT").hears_nothing()

        gate.callback(None)

        talk.hears(b"+OK").is_hung_up_on()
        assert not office.maildrops.is_taken(alice)
        office.log_in()

    def test_the_answer_waits_for_the_commit(self, office: PostOffice, alice: Account) -> None:
        """Stock Twisted ignores the outcome."""
        gate: Deferred[None] = Deferred()
        office.maildrops.gates["expunge"] = gate
        talk = office.log_in().says(b"DELE 1").hears(b"+OK").says(b"QUIT").hears_nothing()
        assert len(office.maildrops.mail_of(alice)) == 2

        gate.callback(None)

        talk.hears(b"+OK").is_hung_up_on()
        assert len(office.maildrops.mail_of(alice)) == 1

    @pytest.mark.parametrize("fault", [StorageFailed(), RuntimeError("a bug")])
    def test_a_failed_removal_is_told(
        self, office: PostOffice, alice: Account, fault: Exception
    ) -> None:
        """All or nothing; the maildrop is released and the connection closed all the same."""
        office.maildrops.faults["expunge"] = fault
        talk = office.log_in().says(b"DELE 1", b"DELE 2", b"QUIT").hears(b"+OK", b"+OK")
        talk.hears(b"-ERR [SYS/TEMP] some deleted messages not removed").is_hung_up_on()
        assert len(office.maildrops.mail_of(alice)) == 2
        office.log_in().says(b"STAT").hears(b"+OK 2 ")

    def test_a_failed_release_is_our_trouble_only(self, office: PostOffice, alice: Account) -> None:
        """The messages are removed, so the client hears +OK; the lease runs out."""
        office.maildrops.faults["release"] = StorageFailed()
        with logs() as heard:
            office.log_in().says(b"DELE 1", b"QUIT").hears(b"+OK", b"+OK").is_hung_up_on()
        assert len(faults(heard)) == 1
        assert len(office.maildrops.mail_of(alice)) == 1

    def test_a_client_that_does_not_wait_for_the_answer_is_served(
        self, office: PostOffice, alice: Account
    ) -> None:
        """It has said QUIT: the removal is done."""
        gate: Deferred[None] = Deferred()
        office.maildrops.gates["expunge"] = gate
        office.log_in().says(b"DELE 1", b"QUIT").loses_its_line()

        gate.callback(None)

        assert len(office.maildrops.mail_of(alice)) == 1
        assert not office.maildrops.is_taken(alice)

    def test_nothing_behind_it_is_answered(self, office: PostOffice, alice: Account) -> None:
        """The session is over."""
        del alice
        office.log_in().says(b"QUIT", b"STAT", b"DELE 1").hears(b"+OK").hears_nothing()


class TestWithoutQuit:
    """Nothing is removed, and the maildrop is released."""

    def test_a_lost_line(self, office: PostOffice, alice: Account) -> None:
        """A client that loses its line after DELE finds its mail again."""
        office.log_in().says(b"DELE 1").hears(b"+OK").loses_its_line()
        assert len(office.maildrops.mail_of(alice)) == 2
        office.log_in().says(b"STAT").hears(b"+OK 2 ")

    def test_a_line_lost_with_quit_still_unread(self, office: PostOffice, alice: Account) -> None:
        """The client has not heard the message that it wanted to have before DELE."""
        gate: Deferred[None] = Deferred()
        office.maildrops.gates["read"] = gate
        office.log_in().says(b"RETR 1", b"DELE 1", b"QUIT").loses_its_line()

        gate.callback(None)

        assert len(office.maildrops.mail_of(alice)) == 2
        assert not office.maildrops.is_taken(alice)

    def test_an_autologout(self, office: PostOffice, alice: Account) -> None:
        """After 10 minutes of silence, and without a word; RFC 1939 section 3."""
        talk = office.log_in().says(b"DELE 1").hears(b"+OK")
        talk.waits(599).is_still_connected().waits(2).hears_nothing().is_hung_up_on()
        assert len(office.maildrops.mail_of(alice)) == 2
        assert not office.maildrops.is_taken(alice)

    def test_every_line_begins_a_new_ten_minutes(self, office: PostOffice, alice: Account) -> None:
        """Whatever the line is."""
        del alice
        talk = office.log_in()
        for line in (b"NOOP", b"XYZZY", b"STAT"):
            talk.waits(500).says(line).is_still_connected()

    def test_silence_before_the_login(self, office: PostOffice) -> None:
        """The connection is closed, too."""
        office.connect().hears(b"+OK").waits(601).hears_nothing().is_hung_up_on()
        assert office.clock.getDelayedCalls() == []

    def test_the_service_stops(self, office: PostOffice, alice: Account) -> None:
        """Every session ends, its maildrop is free, and no coroutine is left."""
        talk, other = office.log_in().says(b"DELE 1").hears(b"+OK"), office.connect()

        office.factory.interrupt()

        talk.hears_nothing().is_hung_up_on()
        other.is_hung_up_on()
        assert len(office.maildrops.mail_of(alice)) == 2
        assert not office.maildrops.is_taken(alice)
        assert len(office.background) == len(office.factory.sessions) == 0
        assert office.clock.getDelayedCalls() == []

    def test_the_service_stops_in_the_middle_of_a_command(
        self, office: PostOffice, alice: Account
    ) -> None:
        """The command is answered, then the session ends."""
        gate: Deferred[None] = Deferred()
        office.maildrops.gates["expunge"] = gate
        talk = office.log_in().says(b"DELE 1").hears(b"+OK").says(b"QUIT").hears_nothing()

        office.factory.interrupt()
        assert len(office.background) == 1
        gate.callback(None)

        talk.hears(b"+OK").is_hung_up_on()
        assert len(office.maildrops.mail_of(alice)) == 1

    def test_the_service_stops_in_the_middle_of_a_login(
        self, office: PostOffice, alice: Account
    ) -> None:
        """The maildrop that is opened last is released too."""
        gate: Deferred[None] = Deferred()
        office.maildrops.gates["open"] = gate
        talk = office.connect().says(b"USER alice", b"PASS " + PASSWORD)

        office.factory.interrupt()
        gate.callback(None)

        talk.is_hung_up_on()
        assert not office.maildrops.is_taken(alice)
        assert len(office.background) == 0

    def test_what_does_not_end_can_be_cancelled(self, office: PostOffice, alice: Account) -> None:
        """A query that never answers does not keep the service from stopping."""
        office.maildrops.gates["read"] = Deferred()
        talk = office.log_in().says(b"RETR 1")
        office.factory.interrupt()

        office.background.cancel()

        talk.is_hung_up_on()
        assert len(office.background) == 0
        assert not office.maildrops.is_taken(alice)

    @pytest.mark.parametrize(
        ("gate", "lines"), [("read", (b"RETR 1",)), ("expunge", (b"DELE 1", b"QUIT"))]
    )
    def test_nothing_is_said_of_what_was_cancelled(
        self, office: PostOffice, alice: Account, gate: str, lines: tuple[bytes, ...]
    ) -> None:
        """An -ERR to QUIT would say that nothing is removed, which nobody knows."""
        office.maildrops.gates[gate] = Deferred()
        talk = office.log_in()
        for line in lines[:-1]:
            talk.says(line).hears(b"+OK")
        talk.says(lines[-1])
        office.factory.interrupt()

        office.background.cancel()

        talk.hears_nothing().is_hung_up_on()
        assert not office.maildrops.is_taken(alice)

    def test_a_lost_lease(self, office: PostOffice, alice: Account) -> None:
        """Another session may have the maildrop: this one ends, and removes nothing."""
        talk = office.log_in().says(b"DELE 1").hears(b"+OK")
        office.maildrops.steal(alice)
        other = office.log_in()

        talk.waits(41).hears_nothing().is_hung_up_on()

        assert len(office.maildrops.mail_of(alice)) == 2
        other.says(b"DELE 1", b"QUIT").hears(b"+OK", b"+OK")

    def test_quit_after_the_lease_was_lost(self, office: PostOffice, alice: Account) -> None:
        """Nothing is removed, and the client is told."""
        talk = office.log_in().says(b"DELE 1").hears(b"+OK")
        office.maildrops.steal(alice)
        office.log_in()
        talk.says(b"QUIT").hears(b"-ERR [SYS/TEMP] some deleted messages not removed")
        assert len(office.maildrops.mail_of(alice)) == 2
        assert office.maildrops.is_taken(alice)


class TestConnections:
    """How many there are."""

    def test_they_are_counted(self, office: PostOffice, alice: Account) -> None:
        """From the greeting to the end of the connection."""
        del alice
        talk = office.log_in()
        assert len(office.factory.sessions) == 1
        talk.says(b"QUIT").is_hung_up_on()
        assert len(office.factory.sessions) == 0

    def test_one_too_many_is_told_so(self, office: PostOffice) -> None:
        """It may try again later; RFC 3206 section 4."""
        office.places = 1
        office.connect().hears(b"+OK")
        talk = office.connect().hears(b"-ERR [SYS/TEMP] too many connections")
        talk.says(b"USER alice").hears_nothing().is_hung_up_on()
        assert office.clock.getDelayedCalls() != []

    def test_a_client_that_does_not_hang_up_is_cut_off(self) -> None:
        """Ten seconds after our last word."""
        office = PostOffice(Settings(pop3=Pop3Settings(idle_timeout=5.0)))
        talk = office.connect()
        talk.says(b"QUIT").waits(11)
        assert office.clock.getDelayedCalls() == []

    def test_sessions_are_told_in_the_log(self, office: PostOffice, alice: Account) -> None:
        """Who, from where, how it ended and what was done."""
        del alice
        with logs() as heard:
            office.log_in().says(b"RETR 1", b"DELE 1", b"QUIT")
        login, end = (event for event in heard if event["log_level"].name == "info")
        assert (login["user"], login["client"]) == ("alice@test.com", "127.0.0.1")
        assert (end["user"], end["how"]) == ("alice@test.com", "QUIT")
        assert (end["sent"], end["removed"]) == (1, 1)
