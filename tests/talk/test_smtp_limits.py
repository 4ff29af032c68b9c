"""What an SMTP client may do in a time, and what becomes of one that does more."""

from copy import copy
from ipaddress import IPv4Network

import pytest

from mailsvc.config.settings import (
    Kind,
    LimitSettings,
    LoginSettings,
    SmtpSettings,
    Tls,
    WithoutTls,
)
from mailsvc.config.units import Rate
from mailsvc.wire.entrance import Entrance
from tests.support.pop3_talk import logs
from tests.support.smtp_talk import FakeTransport, Talk

STRANGER = "192.0.2.7"
QUICK = SmtpSettings(greeting_delay=0, tarpit=0)
MAIL = b"MAIL FROM:<x@a.example>"
BOB = b"RCPT TO:<bob@test.com>"
NOBODY = b"RCPT TO:<nobody@test.com>"
MESSAGE = (MAIL, BOB, b"DATA", b"Subject: hi", b"", b".")


def stranger(
    settings: SmtpSettings = QUICK, limits: LimitSettings | None = None, kind: Kind = Kind.SMTP
) -> Talk:
    """Connect from outside the exempt networks."""
    anywhere = LoginSettings(without_tls=WithoutTls.ALWAYS)
    return Talk(kind, settings=settings, limits=limits, login=anywhere, ip=STRANGER)


class TlsTransport(FakeTransport):
    """A connection on which TLS begins and never gets on."""

    def startTLS(self, creator: object) -> None:
        """Begin."""


def another(talk: Talk, ip: str = STRANGER, transport: FakeTransport | None = None) -> Talk:
    """Connect to the same server once more."""
    second = copy(talk)
    second.transport = transport or FakeTransport(ip)
    second.protocol = talk.factory.buildProtocol(None)
    second.protocol.makeConnection(second.transport)
    second.heard = 0
    return second


class TestConnections:
    """Connections of one client."""

    def test_a_client_with_too_many_is_sent_away(self) -> None:
        """It hears why, and others are served."""
        limits = LimitSettings(client_connections=2)
        first = stranger(limits=limits).hears(b"220")
        another(first).hears(b"220")

        third = another(first).hears(b"421 4.7.0 Too many connections from your address")

        assert third.transport.closed
        another(first, "192.0.2.8").hears(b"220")

    @pytest.mark.parametrize("how", ["quit", "hang up", "time-out", "interrupt", "errors"])
    def test_a_connection_that_ends_makes_room(self, how: str) -> None:
        """However it ends; while the client still reads our last words it has its place."""
        settings = SmtpSettings(greeting_delay=0, tarpit=0, most_errors=1)
        first = stranger(settings, LimitSettings(client_connections=1)).skips()
        match how:
            case "quit":
                first.says(b"QUIT")
            case "hang up":
                first.hangs_up()
            case "time-out":
                first.clock.advance(301)
            case "interrupt":
                first.protocol.interrupt()
            case _:
                first.says(b"WHAT")
        if how != "hang up":
            another(first).hears(b"421 4.7.0 Too many").hangs_up()
            first.hangs_up()

        another(first).hears(b"220")

    def test_one_that_was_refused_does_not_count(self) -> None:
        """Nothing is given back that was not taken."""
        first = stranger(limits=LimitSettings(client_connections=1))
        another(first).hears(b"421").hangs_up()
        first.hangs_up()

        another(first).hears(b"220")
        another(first).hears(b"421")

    def test_new_connections_have_a_rate(self) -> None:
        """A client that comes again and again must slow down."""
        first = stranger(limits=LimitSettings(client_connection_rate=Rate(2, 60.0))).hangs_up()
        another(first).hears(b"220").hangs_up()
        another(first).hears(b"421 4.7.0").hangs_up()

        first.clock.advance(30)

        another(first).hears(b"220")

    def test_one_that_hangs_up_before_the_greeting_makes_room(self) -> None:
        """Its place is not lost in the wait."""
        first = stranger(SmtpSettings(), LimitSettings(client_connections=1)).hangs_up()

        second = another(first)
        first.clock.advance(1)

        second.hears(b"220")

    def test_behind_a_proxy_its_clients_count(self) -> None:
        """Not the proxy, which stands for all of them."""
        first = stranger(limits=LimitSettings(client_connections=1)).hangs_up()
        first.factory.entrance = Entrance(proxies=(IPv4Network("192.0.2.0/24"),))
        header = b"PROXY TCP4 198.51.100.%d 192.0.2.1 5000 25"
        another(first).says(header % 1).hears(b"220")

        another(first).says(header % 2).hears(b"220")
        another(first).says(header % 1).hears(b"421 4.7.0 Too many connections from your address")

    def test_tls_is_not_wasted_on_one_too_many(self) -> None:
        """A handshake costs more than all the rest: the connection is cut before it."""
        first = stranger(limits=LimitSettings(client_connections=1)).hears(b"220")
        first.factory.entrance = Entrance(tls=Tls.IMPLICIT)

        assert another(first).hears().transport.aborted

        first.hangs_up()
        waiting = another(first, transport=TlsTransport(STRANGER)).hears()
        assert not waiting.transport.closed
        assert another(first).transport.aborted
        waiting.hangs_up()
        assert not another(first, transport=TlsTransport(STRANGER)).transport.closed

    def test_exempt_networks_have_no_limit(self) -> None:
        """Our own relays may come as often as they want."""
        limits = LimitSettings(client_connections=1, client_connection_rate=Rate(1, 60.0))
        first = Talk(limits=limits).hears(b"220")

        another(first, "127.0.0.1").hears(b"220")


class TestGreeting:
    """A client must wait for its turn."""

    def test_the_greeting_comes_after_the_delay(self) -> None:
        """A polite client sees only a short wait."""
        talk = stranger(SmtpSettings(greeting_delay=2))
        talk.clock.advance(1.9)
        talk.hears()

        talk.clock.advance(0.1)

        talk.hears(b"220").says(b"EHLO a").skips().says(b"QUIT").hears(b"221")

    def test_one_that_talks_first_is_sent_away(self) -> None:
        """Spam programs send without listening."""
        talk = stranger(SmtpSettings(greeting_delay=2))
        talk.clock.advance(1)

        with logs() as heard:
            talk.says(b"EHLO spam.example").hears(b"554 5.5.1 You must wait for the greeting")

        assert talk.transport.closed
        assert [event["client"] for event in heard] == [STRANGER]

    def test_one_that_talks_right_behind_the_header_of_its_proxy(self) -> None:
        """It did not wait either."""
        talk = stranger(SmtpSettings(greeting_delay=2)).hangs_up()
        talk.factory.entrance = Entrance(proxies=(IPv4Network("192.0.2.0/24"),))
        header = b"PROXY TCP4 198.51.100.1 192.0.2.1 5000 25"

        another(talk).says(header, b"EHLO spam.example").hears(b"554 5.5.1")
        patient = another(talk).says(header).hears()
        talk.clock.advance(2)
        patient.hears(b"220")

    def test_the_service_need_not_wait_for_it(self) -> None:
        """A stop is heard at once."""
        talk = stranger(SmtpSettings(greeting_delay=2))

        talk.protocol.interrupt()

        talk.hears(b"421 4.3.2")
        assert talk.transport.closed

    def test_one_that_hangs_up_leaves_nothing_behind(self) -> None:
        """No timer waits for a client that is gone."""
        talk = stranger(SmtpSettings(greeting_delay=2)).hangs_up()

        assert not talk.clock.getDelayedCalls()
        assert len(talk.factory.background) == 0

    def test_users_and_exempt_networks_do_not_wait(self) -> None:
        """Mail programs of users are greeted at once."""
        stranger(SmtpSettings(greeting_delay=2), kind=Kind.SUBMISSION).hears(b"220")
        Talk(settings=SmtpSettings(greeting_delay=2)).hears(b"220")


class TestTarpit:
    """Refusals take time."""

    SLOW = SmtpSettings(greeting_delay=0, tarpit=3)

    def test_refusals_wait_from_the_third_on(self) -> None:
        """Who tries addresses gets slow answers; right commands in between are quick."""
        talk = stranger(self.SLOW).greeted().says(MAIL, NOBODY, NOBODY)
        talk.hears(b"250", b"550", b"550")

        talk.says(NOBODY, BOB, NOBODY).hears()
        talk.clock.advance(2.9)
        talk.hears()
        talk.clock.advance(0.1)
        talk.hears(b"550", b"250")
        talk.clock.advance(3)
        talk.hears(b"550")

    def test_failed_logins_wait_as_well(self) -> None:
        """Passwords are not tried quickly."""
        talk = stranger(self.SLOW, kind=Kind.SUBMISSION).greeted().says(b"WHAT", b"WHAT").skips()

        talk.says(b"AUTH PLAIN AGFsaWNlQHRlc3QuY29tAHdyb25n").hears()
        talk.clock.advance(3)

        talk.hears(b"535 5.7.8")

    def test_one_that_hangs_up_is_noticed(self) -> None:
        """Nobody waits for a client that is gone."""
        talk = stranger(self.SLOW).greeted().says(b"WHAT", b"WHAT", b"WHAT").hangs_up()

        assert not talk.clock.getDelayedCalls()
        assert len(talk.factory.background) == 0

    def test_a_stop_is_not_held_back(self) -> None:
        """The answer goes out at once, then the good-bye."""
        talk = stranger(self.SLOW).greeted().says(b"WHAT", b"WHAT", b"WHAT").skips()

        talk.protocol.interrupt()

        talk.hears(b"500", b"421 4.3.2")

    def test_what_comes_meanwhile_does_not_fill_the_memory(self) -> None:
        """Reading pauses while the client is held back."""
        talk = stranger(self.SLOW).greeted().says(b"WHAT", b"WHAT", b"WHAT")

        talk.sends(b"NOOP\r\n" * 20_000)

        assert talk.transport.paused

    def test_exempt_networks_do_not_wait(self) -> None:
        """A server of ours hears its refusals at once."""
        Talk(settings=self.SLOW).greeted().says(b"A", b"B", b"C").hears(*[b"500"] * 3)

    def test_the_last_error_is_told(self) -> None:
        """Who is sent away learns what was wrong at last."""
        talk = Talk(settings=SmtpSettings(most_errors=2)).greeted()

        talk.says(MAIL, NOBODY, NOBODY).hears(
            b"250", b"550", b"421 4.7.0 Too many errors; the last one: There is no such mailbox"
        )
        assert talk.transport.closed


class TestRates:
    """Messages and recipients in a time."""

    def test_messages_of_a_client(self) -> None:
        """It hears when to come again; its next connection is the same client."""
        talk = stranger(limits=LimitSettings(client_messages=Rate(2, 3600.0))).greeted()
        talk.says(MAIL, b"RSET", MAIL, b"RSET").hears(*[b"250"] * 4)

        talk.says(MAIL).hears(b"451 4.7.1 Too many messages from your address; slow down")
        another(talk).greeted().says(MAIL).hears(b"451 4.7.1")
        another(talk, "192.0.2.8").greeted().says(MAIL).hears(b"250")

        talk.clock.advance(1800)
        another(talk).greeted().says(MAIL).hears(b"250")

    def test_the_wait_is_told(self) -> None:
        """In seconds or in minutes."""
        talk = stranger(limits=LimitSettings(client_messages=Rate(1, 3600.0))).greeted()
        talk.says(MAIL, b"RSET", MAIL)

        assert b"may come in 60 minutes\r\n" in talk.unheard()
        talk.skips()
        for _ in range(13):
            talk.clock.advance(275)
            talk.says(b"NOOP")
        assert b"may come in 25 seconds\r\n" in talk.skips().says(MAIL).unheard()

    def test_recipients_of_a_client(self) -> None:
        """Those before are accepted, and the message goes to them."""
        limits = LimitSettings(client_recipients=Rate(1, 3600.0))
        talk = stranger(SmtpSettings(greeting_delay=0, most_errors=3), limits).greeted()
        talk.says(MAIL, BOB, *[b"RCPT TO:<alice@test.com>"] * 5)

        talk.hears(b"250", b"250", *[b"450 4.7.1 Too many recipients from your address"] * 5)
        talk.says(b"DATA", b"Subject: hi", b"", b".").hears(b"354", b"250")
        assert len(talk.intake.taken[0][0].recipients) == 1

    def test_a_refused_recipient_is_not_counted(self) -> None:
        """Only those that get mail count."""
        talk = stranger(limits=LimitSettings(client_recipients=Rate(1, 3600.0))).greeted()

        talk.says(MAIL, NOBODY, NOBODY, BOB).hears(b"250", b"550", b"550", b"250")

    def test_messages_and_recipients_of_a_login(self) -> None:
        """Each user has a share, wherever the user is; exempt networks change nothing."""
        limits = LimitSettings(login_messages=Rate(2, 60.0), login_recipients=Rate(1, 60.0))
        talk = Talk(Kind.SUBMISSION, limits=limits).logged_in()
        mail = b"MAIL FROM:<alice@test.com>"
        talk.says(mail, BOB, BOB).hears(
            b"250", b"250", b"450 4.7.1 Too many recipients from your account"
        )
        talk.says(b"RSET", mail, b"RSET", mail).hears(
            b"250", b"250", b"250", b"451 4.7.1 Too many messages from your account"
        )

    def test_users_are_not_counted_by_their_address(self) -> None:
        """Many users behind one address do not disturb each other."""
        one = LimitSettings(client_messages=Rate(1, 60.0), client_recipients=Rate(1, 60.0))
        talk = stranger(limits=one, kind=Kind.SUBMISSION).logged_in()

        for _ in range(2):
            talk.says(b"MAIL FROM:<alice@test.com>", BOB, b"RSET").hears(*[b"250"] * 3)

    def test_exempt_clients_and_no_limit(self) -> None:
        """Null in config.yaml is no limit; a network may be spared."""
        one = LimitSettings(client_messages=Rate(1, 60.0), client_recipients=Rate(1, 60.0))
        none = LimitSettings(client_messages=None, client_recipients=None)
        for talk in (Talk(limits=one), stranger(limits=none)):
            talk.greeted().says(MAIL, BOB, BOB, b"RSET", MAIL).hears(*[b"250"] * 5)


class TestTransaction:
    """A message must be complete in time."""

    SHORT = SmtpSettings(transaction_timeout=100, command_timeout=60, content_timeout=60)

    def test_a_message_that_drips_is_given_up(self) -> None:
        """Not only silence counts."""
        talk = Talk(settings=self.SHORT).with_recipient().says(b"DATA").hears(b"354")
        for _ in range(3):
            talk.clock.advance(30)
            talk.says(b"a line")
        talk.hears()

        talk.clock.advance(10)

        talk.hears(b"421 4.4.2 This message took too long")
        assert talk.transport.closed
        assert talk.room.used == 0

    def test_commands_do_not_stretch_it(self) -> None:
        """Neither do commands that change nothing."""
        talk = Talk(settings=self.SHORT).greeted().says(MAIL).skips()
        talk.clock.advance(50)
        talk.says(b"NOOP").skips()

        talk.clock.advance(50)

        talk.hears(b"421 4.4.2 This message took too long")

    @pytest.mark.parametrize("end", [MESSAGE[1:], (b"RSET",), (b"EHLO a",)])
    def test_the_next_message_has_its_own_time(self, end: tuple[bytes, ...]) -> None:
        """The clock starts at MAIL and stops with the transaction."""
        talk = Talk(settings=self.SHORT).greeted().says(MAIL).skips()
        talk.clock.advance(50)
        talk.says(*end).skips()
        talk.clock.advance(40)
        talk.says(MAIL).hears(b"250")
        talk.clock.advance(55)

        talk.says(*MESSAGE[1:]).hears(b"250", b"354", b"250")

    def test_silence_is_told_as_silence(self) -> None:
        """The reason is the right one."""
        talk = Talk(settings=self.SHORT).greeted().says(MAIL).skips()

        talk.clock.advance(60)

        talk.hears(b"421 4.4.2 You were silent")


def test_other_servers_of_ours_are_not_held_up() -> None:
    """What comes by LMTP was accepted already; its client is spared."""
    one = LimitSettings(client_connections=1, client_messages=Rate(1, 60.0))
    settings = SmtpSettings(greeting_delay=2, tarpit=2)
    talk = stranger(settings, one, Kind.LMTP).hears(b"220")

    another(talk).hears(b"220").says(b"A", b"B", b"C").hears(*[b"500"] * 3)
