"""AUTH in POP3; RFC 5034, RFC 4616, RFC 5802."""

from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path

import pytest
from twisted.logger import formatEvent

from mailsvc.auth.checkers import WrongPassword
from mailsvc.config.settings import (
    LimitSettings,
    LoginSettings,
    Pop3Settings,
    Settings,
    Tls,
    TlsVersion,
)
from mailsvc.config.units import Rate
from mailsvc.errors import StorageFailed, TooBusy
from mailsvc.model.account import Scope
from mailsvc.wire.certificates import Certificates
from mailsvc.wire.entrance import Entrance
from tests.support.certificates import make_certificate
from tests.support.pop3_talk import PASSWORD, PostOffice, Talk, faults, logs
from tests.support.scram_client import ScramClient
from tests.support.tls_line import TlsLine

PLAIN = b64encode(b"\0alice\0" + PASSWORD)
WRONG = b64encode(b"\0alice\0wrong")


@pytest.fixture
def office() -> PostOffice:
    """Open one with two messages of Alice."""
    office = PostOffice()
    office.add(b"alice", b"one\r\n", b"two\r\n")
    return office


def greeted(office: PostOffice, client: str = "127.0.0.1") -> Talk:
    """Connect a client that has heard the greeting."""
    return office.connect(client).hears(b"+OK")


def challenge(talk: Talk) -> bytes:
    """Hear a challenge."""
    indicator, _, octets = talk.next_line().partition(b" ")
    assert indicator == b"+"
    return b64decode(octets, validate=True)


class TestPlain:
    """RFC 4616."""

    def test_with_an_initial_response(self, office: PostOffice) -> None:
        """One round trip; RFC 5034 section 4."""
        greeted(office).says(b"AUTH PLAIN " + PLAIN, b"STAT").hears(b"+OK", b"+OK 2 10")

    def test_without_an_initial_response(self, office: PostOffice) -> None:
        """The challenge of no octets is a plus sign and a space."""
        talk = greeted(office).says(b"auth plain").hears_exactly(b"+ ")
        talk.says(PLAIN).hears(b"+OK").says(b"STAT").hears(b"+OK 2 10")

    def test_a_command_behind_the_response_may_come_at_once(self, office: PostOffice) -> None:
        """PIPELINING holds for it, too; RFC 2449 section 6.6."""
        talk = greeted(office).says(b"AUTH PLAIN", PLAIN, b"STAT", b"QUIT")
        talk.hears(b"+ ", b"+OK", b"+OK 2 10", b"+OK").is_hung_up_on()

    def test_equals_is_a_response_of_no_octets(self, office: PostOffice) -> None:
        """Stock Twisted hangs up here."""
        talk = greeted(office).says(b"AUTH PLAIN =").hears(b"-ERR That is no response")
        talk.is_still_connected().says(b"AUTH PLAIN " + PLAIN).hears(b"+OK")

    def test_a_wrong_password_and_an_unknown_user_are_told_the_same(
        self, office: PostOffice
    ) -> None:
        """And the same as with PASS."""
        talk = greeted(office).says(b"AUTH PLAIN " + WRONG)
        wrong = talk.next_line()
        talk.says(b"AUTH PLAIN " + b64encode(b"\0nobody\0" + PASSWORD))

        assert talk.next_line() == wrong == b"-ERR [AUTH] User name or password is wrong"

    def test_nobody_acts_for_somebody_else(self, office: PostOffice) -> None:
        """An authorization identity must be the user's own."""
        office.add(b"bob")
        other = b64encode(b"bob\0alice\0" + PASSWORD)
        greeted(office).says(b"AUTH PLAIN " + other).hears(b"-ERR [AUTH]")


class TestLogin:
    """draft-murchison-sasl-login-00: some mail programs know nothing else."""

    def test_name_and_password_are_asked_for(self, office: PostOffice) -> None:
        """In this order, with the prompts that they wait for."""
        talk = greeted(office).says(b"AUTH LOGIN")
        assert challenge(talk) == b"Username:"
        talk.says(b64encode(b"alice"))
        assert challenge(talk) == b"Password:"
        talk.says(b64encode(PASSWORD)).hears(b"+OK").says(b"STAT").hears(b"+OK 2 10")


class TestScram:
    """RFC 5802, RFC 7677."""

    @pytest.mark.parametrize("at_once", [True, False])
    def test_the_password_is_not_said(self, office: PostOffice, at_once: bool) -> None:  # noqa: FBT001 - a test's case
        """The server proves itself, then the client sends a response of no octets."""
        office.checker.fault = WrongPassword()
        talk, client = greeted(office), ScramClient("alice", PASSWORD)
        first = b64encode(client.first)
        if at_once:
            talk.says(b"AUTH SCRAM-SHA-256 " + first)
        else:
            talk.says(b"AUTH SCRAM-SHA-256").hears_exactly(b"+ ").says(first)
        talk.says(b64encode(client.final(challenge(talk))))

        assert challenge(talk) == client.server_final
        talk.says(b"").hears(b"+OK").says(b"STAT").hears(b"+OK 2 10")

    @pytest.mark.parametrize("name", ["alice", "nobody"])
    def test_a_wrong_proof_is_a_wrong_password(self, office: PostOffice, name: str) -> None:
        """Also for somebody who does not exist."""
        talk, client = greeted(office), ScramClient(name, b"wrong")
        talk.says(b"AUTH SCRAM-SHA-256 " + b64encode(client.first))
        talk.says(b64encode(client.final(challenge(talk))))
        talk.hears_exactly(b"-ERR [AUTH] User name or password is wrong")

    def test_plus_binds_the_login_to_its_connection(self, tmp_path: Path) -> None:
        """Over real TLS: what the two ends of another connection would not have."""
        certificates = Certificates(TlsVersion.TLS12)
        certificates.load([make_certificate(tmp_path, "mail.test.com")])
        office = PostOffice()
        office.add(b"alice", b"one\r\n")
        office.factory.entrance = Entrance(tls=Tls.IMPLICIT, certificates=certificates)
        line = TlsLine(office.factory).begins_tls().hears(b"+OK")
        bound = line.client.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
        client = ScramClient("alice", PASSWORD, header="p=tls-exporter,,", bound=bound)

        line.says(b"AUTH SCRAM-SHA-256-PLUS " + b64encode(client.first))
        asked = b64decode(line.heard().removeprefix(b"+ ").strip())
        line.says(b64encode(client.final(asked))).hears(b"+ " + b64encode(client.server_final))
        line.says(b"").hears(b"+OK").says(b"STAT").hears(b"+OK 1 5")


class TestTheExchange:
    """What is the same for all mechanisms; RFC 5034 section 4."""

    def test_auth_alone_lists_them(self, office: PostOffice) -> None:
        """Older mail programs ask so."""
        talk = greeted(office).says(b"AUTH")
        assert talk.rest_of_list() == [b"SCRAM-SHA-256", b"PLAIN", b"LOGIN"]

    @pytest.mark.parametrize("mechanism", [b"CRAM-MD5", b"SCRAM-SHA-256-PLUS", b"\xff", b"APOP"])
    def test_other_mechanisms_are_refused(self, office: PostOffice, mechanism: bytes) -> None:
        """PLUS needs TLS to bind to."""
        talk = greeted(office).says(b"AUTH " + mechanism).hears(b"-ERR no such way to log in")
        talk.is_still_connected().says(b"AUTH PLAIN " + PLAIN).hears(b"+OK")

    @pytest.mark.parametrize("mechanism", [b"PLAIN", b"LOGIN", b"SCRAM-SHA-256"])
    def test_a_star_cancels(self, office: PostOffice, mechanism: bytes) -> None:
        """The next line is a command again."""
        talk = greeted(office).says(b"AUTH " + mechanism, b"*", b"CAPA").hears(b"+ ", b"-ERR")
        talk.hears_text()

    def test_a_response_that_is_not_base64_ends_it(self, office: PostOffice) -> None:
        """Strictly: what is guessed at could be read in two ways."""
        talk = greeted(office).says(b"AUTH PLAIN", b"AGEAYg=").hears(b"+ ", b"-ERR That is not")
        talk.says(b"AUTH PLAIN !").hears(b"-ERR That is not base64").says(b"QUIT").hears(b"+OK")

    def test_three_arguments_are_too_many(self, office: PostOffice) -> None:
        """There is one initial response."""
        greeted(office).says(b"AUTH PLAIN AGEA Yg==").hears(b"-ERR").hears_nothing()

    def test_a_response_may_be_longer_than_a_command(self, office: PostOffice) -> None:
        """RFC 5034 section 4: the limit of RFC 2449 is for commands; 12,288 here."""
        talk = greeted(office).says(b"AUTH PLAIN").hears(b"+ ")
        talk.says(b"A" * 12_284).hears(b"-ERR That is no response")
        talk.says(b"AUTH PLAIN", b"A" * 12_287).hears(b"+ ", b"-ERR the response is too long")
        talk.says(b"A" * 254).hears(b"-ERR the line is too long").says(b"QUIT").hears(b"+OK")

    def test_an_initial_response_is_no_longer_than_a_command(self, office: PostOffice) -> None:
        """RFC 5034 section 4 says so."""
        talk = greeted(office).says(b"AUTH PLAIN " + b"A" * 400).hears(b"-ERR the line is too long")
        talk.is_still_connected()

    def test_nobody_logs_in_twice(self, office: PostOffice) -> None:
        """AUTH is a command of the AUTHORIZATION state."""
        office.log_in().says(b"AUTH PLAIN " + PLAIN).hears(b"-ERR you are logged in")

    def test_user_is_forgotten(self, office: PostOffice) -> None:
        """PASS comes immediately behind USER; RFC 1939 section 7."""
        talk = greeted(office).says(b"USER alice", b"AUTH PLAIN", b"*", b"PASS " + PASSWORD)
        talk.hears(b"+OK", b"+ ", b"-ERR", b"-ERR USER comes first")

    def test_a_user_without_pop3_is_told_so(self, office: PostOffice) -> None:
        """Whatever the mechanism; a stranger learns nothing of it."""
        office.add(b"carol", scopes=(Scope.SMTP,))
        talk = greeted(office).says(b"AUTH PLAIN " + b64encode(b"\0carol\0wrong"))
        talk.hears(b"-ERR [AUTH]").says(b"AUTH PLAIN " + b64encode(b"\0carol\0" + PASSWORD))
        talk.hears_exactly(b"-ERR [AUTH] This account may not use this service")

    def test_a_disabled_user_is_told_so(self, office: PostOffice) -> None:
        """And counted as a failed login."""
        carol = office.add(b"carol")
        office.accounts.by_number[carol.id] = replace(carol, enabled=False)
        talk, login = greeted(office), b"AUTH PLAIN " + b64encode(b"\0carol\0" + PASSWORD)
        for _ in range(3):
            talk.is_still_connected().says(login).hears(b"-ERR [AUTH] This account")
        talk.is_hung_up_on()

    def test_a_maildrop_in_use_is_told_so(self, office: PostOffice) -> None:
        """As with PASS."""
        office.log_in()
        greeted(office).says(b"AUTH PLAIN " + PLAIN).hears(b"-ERR [IN-USE]")

    @pytest.mark.parametrize("trouble", [StorageFailed(), TooBusy(), RuntimeError("a bug")])
    def test_our_troubles_are_no_wrong_password(
        self, office: PostOffice, trouble: Exception
    ) -> None:
        """The mail program tries again and does not ask; RFC 3206 section 4."""
        office.checker.fault = trouble
        with logs() as heard:
            talk = greeted(office).says(b"AUTH PLAIN " + PLAIN).hears(b"-ERR [SYS/TEMP]")
        office.checker.fault = None
        talk.says(b"AUTH PLAIN " + PLAIN).hears(b"+OK")
        assert bool(faults(heard)) == isinstance(trouble, RuntimeError)

    def test_failures_of_all_ways_count_together(self, office: PostOffice) -> None:
        """``login.most_failures``."""
        talk = greeted(office).says(b"AUTH PLAIN " + WRONG, b"USER alice", b"PASS wrong")
        talk.hears(b"-ERR", b"+OK", b"-ERR").is_still_connected()
        talk.says(b"AUTH LOGIN", b64encode(b"alice"), b64encode(b"wrong"))
        talk.hears(b"+ ", b"+ ", b"-ERR [AUTH]").is_hung_up_on()

    def test_no_response_is_logged(self) -> None:
        """A password is in it."""
        office = PostOffice()
        office.add(b"alice")
        office.factory.logs_commands = True
        with logs() as events:
            greeted(office).says(b"AUTH PLAIN " + WRONG, b"AUTH PLAIN", WRONG).hears(b"-ERR", b"+ ")
        assert events
        assert not any(WRONG in str(event).encode() for event in events)


class TestThrottling:
    """Who guesses must wait."""

    def test_a_failed_login_is_held_back(self) -> None:
        """``pop3.tarpit``; what is said meanwhile is answered afterwards."""
        office = PostOffice(Settings(pop3=Pop3Settings(tarpit=2), limits=LimitSettings(exempt=())))
        office.add(b"alice")
        talk = greeted(office).says(b"USER alice", b"PASS wrong", b"NOOP").hears(b"+OK")

        talk.hears_nothing().waits(1).hears_nothing().waits(1).hears(b"-ERR [AUTH]")
        talk.hears_nothing().waits(2).hears(b"-ERR log in first")

    def test_so_is_the_third_wrong_command_in_a_row(self) -> None:
        """Anybody may mistype."""
        office = PostOffice(Settings(limits=LimitSettings(exempt=())))
        talk = greeted(office).says(b"HELO", b"MAIL").hears(b"-ERR", b"-ERR")
        talk.says(b"RCPT").hears_nothing().waits(1).hears(b"-ERR no such command")

    def test_this_machine_does_not_wait(self, office: PostOffice) -> None:
        """``limits.exempt``."""
        greeted(office).says(b"AUTH PLAIN " + WRONG, b"AUTH PLAIN " + WRONG).hears(b"-ERR", b"-ERR")

    def test_guessing_proofs_is_held_up(self) -> None:
        """``login.failures_per_client``, shared with SMTP."""
        login = LoginSettings(most_failures=9, failures_per_client=Rate(1, 3600.0))
        office = PostOffice(Settings(login=login, limits=LimitSettings(exempt=())))
        office.add(b"alice")
        talk, client = greeted(office), ScramClient("alice", b"wrong")
        talk.says(b"AUTH SCRAM-SHA-256 " + b64encode(client.first))
        talk.says(b64encode(client.final(challenge(talk)))).waits(1).hears(b"-ERR [AUTH]")
        talk.says(b"AUTH SCRAM-SHA-256 " + b64encode(client.first)).waits(1)
        talk.hears(b"-ERR [SYS/TEMP] Too many failed logins")


def test_a_failed_login_is_told_with_the_address(office: PostOffice) -> None:
    """However the user wrote it: whoever looks for it in the log finds it."""
    with logs() as heard:
        greeted(office).says(b"AUTH PLAIN " + WRONG).hears(b"-ERR [AUTH]")

    # What another test has left behind may be told meanwhile.
    [told] = [text for text in map(formatEvent, heard) if "login" in text]
    assert told.startswith("login as 'alice@test.com' from 127.0.0.1 failed")


class TestLoginDelay:
    """RFC 2449 section 6.5."""

    @pytest.fixture
    def office(self) -> PostOffice:
        """Open one where users may come every ten minutes."""
        office = PostOffice(Settings(pop3=Pop3Settings(login_delay=600)))
        office.add(b"alice")
        office.add(b"bob")
        return office

    def test_it_is_told(self, office: PostOffice) -> None:
        """In seconds."""
        assert b"LOGIN-DELAY 600\r\n" in greeted(office).asks(b"CAPA")

    def test_a_part_of_a_second_is_told_as_a_whole_one(self) -> None:
        """Who comes back when it has passed is not too soon."""
        office = PostOffice(Settings(pop3=Pop3Settings(login_delay=1.2)))
        assert b"LOGIN-DELAY 2\r\n" in greeted(office).asks(b"CAPA")

    def test_who_comes_back_too_soon_is_told_so(self, office: PostOffice) -> None:
        """It is no wrong password, and counts as no failure; others may come."""
        office.log_in(b"alice").says(b"QUIT").hears(b"+OK")
        talk = greeted(office)
        for _ in range(4):
            talk.says(b"USER alice", b"PASS " + PASSWORD).hears(b"+OK", b"-ERR [LOGIN-DELAY] You")
        for wait, words in ((0, b"10 minutes"), (480, b"120 seconds"), (119, b"1 second\r\n")):
            talk.waits(wait).says(b"AUTH PLAIN " + PLAIN)
            said = b"You have logged in a moment ago; please come back in " + words
            talk.hears(b"-ERR [LOGIN-DELAY] " + said.strip())
        talk.says(b"LANG zh", b"AUTH PLAIN " + PLAIN)
        talk.hears(b"+OK", b"-ERR [LOGIN-DELAY] " + "您刚刚登录过".encode())
        office.log_in(b"bob").says(b"QUIT").hears(b"+OK")

        talk.says(b"QUIT").hears(b"+OK").waits(1)
        office.log_in(b"alice")

    def test_a_login_that_failed_does_not_count(self, office: PostOffice) -> None:
        """Neither a wrong password nor a maildrop in use."""
        talk = greeted(office).says(b"AUTH PLAIN " + WRONG).hears(b"-ERR [AUTH]")
        talk.says(b"AUTH PLAIN " + PLAIN).hears(b"+OK")


class TestExpire:
    """How long mail stays; RFC 2449 section 6.7."""

    def test_all_stays_until_it_is_removed(self, office: PostOffice) -> None:
        """By default."""
        assert b"EXPIRE NEVER\r\n" in greeted(office).asks(b"CAPA")

    def test_a_user_is_told_the_own_days(self, office: PostOffice) -> None:
        """Before the login the fewest of all users."""
        alice = office.accounts.by_number[next(iter(office.accounts.by_number))]
        office.accounts.by_number[alice.id] = replace(alice, keep_days=30)
        office.add(b"bob")

        assert b"EXPIRE 30 USER\r\n" in greeted(office).asks(b"CAPA")
        assert b"EXPIRE 30\r\n" in office.log_in(b"alice").asks(b"CAPA")
        assert b"EXPIRE NEVER\r\n" in office.log_in(b"bob").asks(b"CAPA")
