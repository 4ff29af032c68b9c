"""The AUTHORIZATION state; RFC 1939 section 4, RFC 2449 section 5, RFC 3206."""

import pytest
from twisted.internet.defer import Deferred

from mailsvc.auth.guard import HeldUp
from mailsvc.config.settings import LoginSettings, Settings, WithoutTls
from mailsvc.errors import StorageFailed, TooBusy
from mailsvc.model.account import Scope
from tests.support.pop3_talk import PASSWORD, PostOffice, faults, logs


@pytest.fixture
def office() -> PostOffice:
    """Alice has two messages."""
    office = PostOffice()
    office.add(b"alice", b"one\r\n", b"two\r\n")
    return office


def allowing(without_tls: WithoutTls) -> PostOffice:
    """Alice may or may not log in without TLS."""
    office = PostOffice(Settings(login=LoginSettings(without_tls=without_tls)))
    office.add(b"alice")
    return office


class TestGreeting:
    """The first line."""

    def test_a_client_is_greeted(self, office: PostOffice) -> None:
        """One line; no APOP timestamp, for there is no APOP."""
        office.connect().hears_exactly(b"+OK mailsvc ready").hears_nothing()

    def test_small_replies_leave_at_once(self, office: PostOffice) -> None:
        """Nagle's algorithm costs stock Twisted 40 ms for each RETR."""
        assert office.connect().transport.no_delay


class TestUserAndPass:
    """The login."""

    def test_the_right_password_opens_the_maildrop(self, office: PostOffice) -> None:
        """USER, PASS, STAT."""
        talk = office.connect().hears(b"+OK")
        talk.says(b"USER alice").hears(b"+OK").says(b"PASS " + PASSWORD).hears(b"+OK")
        talk.says(b"STAT").hears_exactly(b"+OK 2 10")

    def test_verbs_may_be_in_any_case(self, office: PostOffice) -> None:
        """RFC 1939 section 3."""
        talk = office.connect().hears(b"+OK").says(b"uSeR alice", b"pass " + PASSWORD)
        talk.hears(b"+OK", b"+OK").says(b"stat", b"Quit").hears(b"+OK 2 10", b"+OK")

    def test_a_password_may_have_spaces_at_any_place(self, office: PostOffice) -> None:
        """The rest of the line is the password, to the last space; RFC 1939 section 7."""
        talk = office.connect().hears(b"+OK")
        talk.says(b"USER alice", b"PASS " + PASSWORD + b" ").hears(b"+OK", b"-ERR [AUTH]")
        talk.says(b"USER alice", b"PASS  " + PASSWORD).hears(b"+OK", b"-ERR [AUTH]")

    def test_nobody_learns_who_exists(self, office: PostOffice) -> None:
        """A wrong password and an unknown user are told the same."""
        talk = office.connect().hears(b"+OK")

        talk.says(b"USER alice", b"PASS wrong").hears(b"+OK")
        wrong = talk.next_line()
        talk.says(b"USER nobody", b"PASS " + PASSWORD).hears(b"+OK")

        assert talk.next_line() == wrong
        assert wrong.startswith(b"-ERR [AUTH] ")

    def test_pass_needs_user(self, office: PostOffice) -> None:
        """And it comes immediately behind; RFC 1939 section 7."""
        talk = office.connect().hears(b"+OK").says(b"PASS " + PASSWORD).hears(b"-ERR")
        talk.says(b"USER alice", b"NOOP", b"PASS " + PASSWORD).hears(b"+OK", b"-ERR", b"-ERR")
        talk.says(b"USER alice", b"PASS no", b"PASS " + PASSWORD).hears(b"+OK", b"-ERR", b"-ERR")

    def test_the_last_user_counts(self, office: PostOffice) -> None:
        """A mistyped name can be corrected."""
        talk = office.connect().hears(b"+OK").says(b"USER bob", b"USER alice", b"PASS " + PASSWORD)
        talk.hears(b"+OK", b"+OK", b"+OK")

    @pytest.mark.parametrize(
        "line", [b"USER", b"USER ", b"USER a b", b"USER  a", b"PASS", b"PASS "]
    )
    def test_arguments_must_be_there(self, office: PostOffice, line: bytes) -> None:
        """Stock Twisted drops the connection at ``USER``."""
        talk = office.connect().hears(b"+OK").says(line).hears(b"-ERR").hears_nothing()
        talk.is_still_connected()

    def test_a_second_login_is_refused(self, office: PostOffice) -> None:
        """Stock Twisted takes it and never releases the first maildrop."""
        office.add(b"bob")
        talk = office.log_in().says(b"USER bob", b"PASS " + PASSWORD).hears(b"-ERR", b"-ERR")
        talk.says(b"STAT").hears(b"+OK 2 10")

    def test_after_some_failures_the_connection_is_closed(self, office: PostOffice) -> None:
        """A guesser starts anew."""
        talk = office.connect().hears(b"+OK")
        for _ in range(3):
            talk.is_still_connected().says(b"USER alice", b"PASS wrong").hears(
                b"+OK", b"-ERR [AUTH]"
            )
        talk.hears_nothing().is_hung_up_on()

    def test_a_guesser_who_is_held_up_is_no_wrong_password(self, office: PostOffice) -> None:
        """The mail program tries again later and does not ask; RFC 3206 section 4."""
        office.checker.fault = HeldUp()
        talk = office.connect().hears(b"+OK")
        for _ in range(3):
            talk.is_still_connected().says(b"USER alice", b"PASS " + PASSWORD)
            talk.hears(b"+OK", b"-ERR [SYS/TEMP] Too many failed logins; try again later")
        talk.is_hung_up_on()

    def test_a_user_without_pop3_is_told_so(self, office: PostOffice) -> None:
        """The administrator's switch; only who knows the password learns of it."""
        office.add(b"carol", scopes=(Scope.SMTP,))
        talk = office.connect().hears(b"+OK").says(b"USER carol", b"PASS " + PASSWORD)
        talk.hears(b"+OK", b"-ERR [AUTH] This account may not use this service")

    def test_a_maildrop_in_use_is_told_so(self, office: PostOffice) -> None:
        """The client waits instead of asking for the password; RFC 2449 section 8.1.1."""
        first, second = office.log_in(), office.connect().hears(b"+OK")

        second.says(b"USER alice", b"PASS " + PASSWORD).hears(b"+OK", b"-ERR [IN-USE]")
        first.says(b"QUIT").hears(b"+OK")
        second.says(b"USER alice", b"PASS " + PASSWORD).hears(b"+OK", b"+OK")

    @pytest.mark.parametrize("fault", [StorageFailed(), TooBusy(), RuntimeError("a bug")])
    def test_our_fault_is_told_so(self, office: PostOffice, fault: Exception) -> None:
        """The client keeps its password and tries again; RFC 3206 section 4."""
        office.maildrops.faults["open"] = fault
        talk = office.connect().hears(b"+OK")
        talk.says(b"USER alice", b"PASS " + PASSWORD).hears(b"+OK", b"-ERR [SYS/TEMP]")
        talk.says(b"USER alice", b"PASS " + PASSWORD).hears(b"+OK", b"+OK")

    def test_our_bug_is_logged(self, office: PostOffice) -> None:
        """With its traceback, without the password."""
        office.checker.fault = RuntimeError("a bug")
        with logs() as heard:
            office.connect().says(b"USER alice", b"PASS " + PASSWORD)

        assert len(faults(heard)) == 1
        assert PASSWORD.decode() not in str(heard)

    def test_no_log_has_a_password(self) -> None:
        """Not even one that was right, at the most talkative level."""
        office = PostOffice(Settings())
        office.factory.logs_commands = True
        office.add(b"alice")
        with logs() as heard:
            office.log_in().says(b"pass " + PASSWORD, b"PAS " + PASSWORD, b"STAT", b"QUIT")

        told = " ".join(str(event) for event in heard)
        assert "STAT" in told
        assert PASSWORD.decode() not in told


class TestWithoutTls:
    """Who may log in where others can listen; RFC 8314 section 3."""

    def test_a_client_on_this_machine_may(self) -> None:
        """By default: nobody can listen."""
        allowing(WithoutTls.LOOPBACK).log_in()

    @pytest.mark.parametrize(
        ("allowed", "client"),
        [
            (WithoutTls.LOOPBACK, "192.0.2.1"),
            (WithoutTls.LOOPBACK, "2001:db8::1"),
            (WithoutTls.NEVER, "127.0.0.1"),
        ],
    )
    def test_others_may_not(self, allowed: WithoutTls, client: str) -> None:
        """They are told what to do, before a password crosses the wire."""
        talk = allowing(allowed).connect(client).hears(b"+OK")
        told = talk.asks(b"CAPA").split(b"\r\n")
        assert b"USER" not in told
        assert not any(line.startswith(b"SASL") for line in told)
        assert b"UTF8" in told  # without USER: no name is taken here
        talk.says(b"USER alice").hears(b"-ERR no login on a connection without TLS")
        talk.says(b"AUTH PLAIN AGEAYg==").hears(b"-ERR no login on a connection without TLS")
        talk.says(b"PASS " + PASSWORD).waits(1).hears(b"-ERR")

    def test_everybody_may_where_that_is_wanted(self) -> None:
        """Setting ``login.without_tls: always``."""
        talk = allowing(WithoutTls.ALWAYS).connect("192.0.2.1").hears(b"+OK")
        assert b"USER" in talk.asks(b"CAPA")
        talk.says(b"USER alice", b"PASS " + PASSWORD).hears(b"+OK", b"+OK")


class TestCapa:
    """What we can do; RFC 2449."""

    def test_only_the_truth_is_told(self, office: PostOffice) -> None:
        """Stock Twisted tells of PIPELINE, CELERITY, AUSPEX and POTENCE."""
        talk = office.connect().hears(b"+OK")
        told = [
            b"USER",
            b"SASL SCRAM-SHA-256 PLAIN LOGIN",
            b"TOP",
            b"UIDL",
            b"RESP-CODES",
            b"AUTH-RESP-CODE",
            b"PIPELINING",
            b"LANG",
            b"IMPLEMENTATION mailsvc",
            b"UTF8 USER",
            b"EXPIRE NEVER",
            b"LOGIN-DELAY 0",
        ]

        assert talk.asks(b"CAPA").split(b"\r\n")[:-1] == told
        talk.says(b"USER alice", b"PASS " + PASSWORD).hears(b"+OK", b"+OK")
        assert talk.asks(b"CAPA").split(b"\r\n")[:-1] == told

    @pytest.mark.parametrize("line", [b"APOP alice 0123", b"RPOP alice", b"STLS", b"XTND"])
    def test_what_is_not_told_is_not_there(self, office: PostOffice, line: bytes) -> None:
        """Stock Twisted has an APOP that never works."""
        office.connect().hears(b"+OK").says(line, b"QUIT").hears(b"-ERR", b"+OK")


class TestState:
    """What comes first."""

    @pytest.mark.parametrize(
        "line",
        [b"STAT", b"LIST", b"UIDL", b"RETR 1", b"TOP 1 0", b"DELE 1", b"RSET", b"NOOP", b"LAST"],
    )
    def test_nothing_is_shown_before_the_login(self, office: PostOffice, line: bytes) -> None:
        """Nor done."""
        office.connect().hears(b"+OK").says(line).hears(b"-ERR").hears_nothing()

    def test_quit_without_a_login_is_good_bye(self, office: PostOffice) -> None:
        """RFC 1939 section 4."""
        office.connect().hears(b"+OK").says(b"QUIT").hears(b"+OK").is_hung_up_on()


class TestALineLostDuringTheLogin:
    """The maildrop is released on every path."""

    def test_while_the_password_is_checked(self, office: PostOffice) -> None:
        """Stock Twisted makes the avatar afterwards and never releases it."""
        office.checker.gate = gate = Deferred[None]()
        office.connect().says(b"USER alice", b"PASS " + PASSWORD, b"QUIT").loses_its_line()
        assert not office.maildrops.is_taken(office.accounts.by_number[1])  # type: ignore[index]

        gate.callback(None)

        office.log_in()

    def test_while_the_maildrop_is_opened(self, office: PostOffice) -> None:
        """The lease comes too late for its client, and goes at once."""
        office.maildrops.gates["open"] = gate = Deferred[None]()
        office.connect().says(b"USER alice", b"PASS " + PASSWORD).loses_its_line()

        gate.callback(None)

        office.log_in()
        assert len(office.background) == 1

    def test_commands_behind_the_password_wait(self, office: PostOffice) -> None:
        """Stock Twisted answers them first, and with -ERR."""
        office.checker.gate = gate = Deferred[None]()
        talk = office.connect().hears(b"+OK")
        talk.says(b"USER alice", b"PASS " + PASSWORD, b"STAT").hears_nothing()

        gate.callback(None)

        talk.hears(b"+OK", b"+OK welcome", b"+OK 2 10")


@pytest.mark.parametrize("bad", [b"x" * 999 + b"\r\n", b"NOOP\n"])
def test_a_bad_line_forgets_the_user(office: PostOffice, bad: bytes) -> None:
    """PASS comes immediately after a successful USER; RFC 1939 section 7."""
    talk = office.connect().hears(b"+OK").sends(b"USER alice\r\n" + bad)
    talk.says(b"PASS " + PASSWORD).hears(b"+OK", b"-ERR", b"-ERR USER comes first")
