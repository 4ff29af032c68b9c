"""SMTP conversations, RFC 5321 section by section."""

import pytest

from mailsvc.config.settings import Kind, SmtpSettings
from mailsvc.errors import MailboxFull, StorageFailed, StorageFull, TooBusy
from tests.support.smtp_talk import Talk


def test_a_message_is_taken_for_its_recipient() -> None:
    """A client greets, names sender and recipient, sends the content and leaves."""
    talk = Talk().hears(b"220 mail.test.com ESMTP")

    talk.says(b"HELO client.example").hears(b"250 mail.test.com")
    talk.says(b"MAIL FROM:<x@a.example>").hears(b"250 2.1.0")
    talk.says(b"RCPT TO:<bob@test.com>").hears(b"250 2.1.5")
    talk.says(b"DATA").hears(b"354 ")
    talk.says(b"Subject: hi", b"", b"text", b".").hears(b"250 2.0.0 OK, stored as ")
    talk.says(b"QUIT").hears(b"221 2.0.0")

    [(envelope, content)] = talk.intake.taken
    assert content == b"Subject: hi\r\n\r\ntext\r\n"
    assert str(envelope.sender) == "x@a.example"
    assert [str(one.address) for one in envelope.recipients] == ["bob@test.com"]
    assert envelope.protocol == "SMTP"
    assert talk.transport.closed


def test_ehlo_tells_the_extensions_that_hold() -> None:
    """What is announced works; AUTH is offered to those who can use it only."""
    Talk().skips().says(b"EHLO client.example").hears(
        b"250-mail.test.com",
        b"250-PIPELINING",
        b"250-SIZE 26214400",
        b"250-8BITMIME",
        b"250-SMTPUTF8",
        b"250-ENHANCEDSTATUSCODES",
        b"250-CHUNKING",
        b"250-BINARYMIME",
        b"250-DELIVERBY",
        b"250-LIMITS RCPTMAX=1000",
        b"250 HELP",
    )


def test_submission_offers_a_login_on_this_machine() -> None:
    """A user on the same machine may say the password without TLS."""
    talk = Talk(Kind.SUBMISSION).skips().says(b"EHLO client.example")

    assert b"250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n" in talk.unheard()


def test_submission_hides_the_login_from_other_machines() -> None:
    """A password is not asked for where somebody may listen; stock ESMTP always asks."""
    talk = Talk(Kind.SUBMISSION, ip="192.0.2.7").skips().says(b"EHLO client.example")

    assert b"AUTH" not in talk.unheard()
    talk.skips().says(b"AUTH PLAIN AGEAYg==").hears(b"538 5.7.11")


@pytest.mark.parametrize(
    ("lines", "reply"),
    [
        ([b"MAIL FROM:<x@a.example>"], b"503 5.5.1"),
        ([b"EHLO a", b"RCPT TO:<bob@test.com>"], b"503 5.5.1"),
        ([b"EHLO a", b"DATA"], b"503 5.5.1"),
        ([b"EHLO a", b"MAIL FROM:<>", b"DATA"], b"503 5.5.1"),
        ([b"EHLO a", b"MAIL FROM:<>", b"MAIL FROM:<>"], b"503 5.5.1"),
        ([b"EHLO a", b"MAIL FROM:<>", b"RSET", b"RCPT TO:<bob@test.com>"], b"503 5.5.1"),
        ([b"EHLO a", b"MAIL FROM:<>", b"EHLO a", b"RCPT TO:<bob@test.com>"], b"503 5.5.1"),
    ],
)
def test_commands_in_a_bad_order_are_refused(lines: list[bytes], reply: bytes) -> None:
    """RFC 5321 section 4.1.4; stock ESMTP takes MAIL before EHLO."""
    talk = Talk().skips()
    for line in lines[:-1]:
        talk.says(line).skips()

    talk.says(lines[-1]).hears(reply)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"EHLO", b"501 5.5.4"),
        (b"HELO a b", b"501 5.5.4"),
        (b"EHLO foo\nX-Injected: yes", b"500 5.5.2"),
        (b"EHLO foo\0", b"501 5.5.4"),
        (b"EHLO [127.0.0.1]", b"250-"),
        (b"EHLO [IPv6:::1]", b"250-"),
        (b"EHLO [nonsense]", b"501 5.5.4"),
        (b"ehlo under_score.example", b"250-"),
    ],
)
def test_ehlo_takes_names_and_literals_only(line: bytes, reply: bytes) -> None:
    """Its argument goes into a header field; stock ESMTP puts anything there."""
    talk = Talk().skips().says(line)

    assert talk.unheard().startswith(reply)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"MAIL", b"501 5.5.4"),
        (b"MAIL FROM:x@a.example", b"501 5.5.4"),
        (b"MAIL FROM:<x@a.example", b"501 5.5.4"),
        (b"MAIL FROM:<x@a.example>SIZE=3", b"501 5.5.4"),
        (b"MAIL FROM:<x@a..example>", b"501 5.1.3"),
        (b"MAIL FROM:<x>", b"501 5.1.3"),
        (b"MAIL FROM:<x@a.example> SIZE=99999999999", b"552 5.3.4"),
        (b"MAIL FROM:<x@a.example> SIZE=many", b"501 5.5.4"),
        (b"MAIL FROM:<x@a.example> SIZE=1 SIZE=1", b"501 5.5.4"),
        (b"MAIL FROM:<x@a.example> BODY=9BIT", b"501 5.5.4"),
        (b"MAIL FROM:<x@a.example> BODY=BINARYMIME", b"250 2.1.0"),
        (b"MAIL FROM:<x@a.example> FOO=BAR", b"555 5.5.4"),
        (b"MAIL FROM:<x@a.example> RET=FULL", b"555 5.5.4"),
        (b"MAIL FROM:<x@a.example> SMTPUTF8", b"250 2.1.0"),
        (b"MAIL FROM:<x@a.example> SMTPUTF8=1", b"501 5.5.4"),
        (b"MAIL FROM:<x@a.example> REQUIRETLS", b"555 5.5.4"),
        ("MAIL FROM:<用户@例子.测试> SMTPUTF8".encode(), b"250 2.1.0"),
        (b"MAIL FROM:<\xff@a.example> SMTPUTF8", b"501 5.5.4"),
        (b"MAIL FROM:<x@a.example> SIZE=1000 BODY=8BITMIME", b"250 2.1.0"),
        (b"mail from: <x@a.example>", b"250 2.1.0"),
        (b"MAIL FROM:<>", b"250 2.1.0"),
        (b"MAIL FROM:<@one.example,@two.example:x@a.example>", b"250 2.1.0"),
        (b'MAIL FROM:<"odd > one"@a.example>', b"250 2.1.0"),
        (b"MAIL FROM:<x@[192.0.2.1]>", b"250 2.1.0"),
        ("MAIL FROM:<用户@例子.测试>".encode(), b"550 5.6.7"),
        (b"MAIL FROM:<x@a.example>  ", b"250 2.1.0"),
    ],
)
def test_mail_is_read_to_the_letter(line: bytes, reply: bytes) -> None:
    """RFC 5321 section 4.1.1.2; stock ESMTP throws parameters away unread."""
    Talk().greeted().says(line).hears(reply)


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        (b"<bob@test.com>", b"250 2.1.5"),
        (b"<BOB@TEST.COM>", b"250 2.1.5"),
        (b"<@relay.example:bob@test.com>", b"250 2.1.5"),
        (b"<Postmaster>", b"250 2.1.5"),
        (b"<postmaster@test.com>", b"250 2.1.5"),
        (b"<nobody@test.com>", b"550 5.1.1"),
        (b"<carol@test.com>", b"550 5.2.1"),
        (b"<x@other.example>", b"550 5.7.1"),
        (b"<x%other.example@test.com>", b"550 5.1.1"),
        (b'<"x@other.example"@test.com>', b"550 5.1.1"),
        (b"<@test.com:x@other.example>", b"550 5.7.1"),
        (b"<x@other.example@test.com>", b"501 5.1.3"),
        (b"<other.example!x>", b"501 5.1.3"),
        (b"<>", b"501 5.1.3"),
        (b"<bob>", b"501 5.1.3"),
        (b"<bob@>", b"501 5.1.3"),
        (b"<bob@test.com> NOTIFY=NEVER", b"555 5.5.4"),
    ],
)
def test_rcpt_takes_our_mailboxes_only(path: bytes, reply: bytes) -> None:
    """No spelling makes it an open relay."""
    Talk().greeted().says(b"MAIL FROM:<x@a.example>").skips().says(b"RCPT TO:" + path).hears(reply)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"NOOP", b"250 2.0.0"),
        (b"NOOP whatever", b"250 2.0.0"),
        (b"RSET", b"250 2.0.0"),
        (b"RSET now", b"501 5.5.4"),
        (b"VRFY bob", b"252 2.5.0"),
        (b"VRFY", b"501 5.5.4"),
        (b"EXPN all", b"502 5.5.1"),
        (b"QUIT now", b"501 5.5.4"),
        (b"AUTH PLAIN", b"502 5.5.1"),
        (b"STARTTLS", b"502 5.5.1"),
        (b"BDAT", b"501 5.5.4"),
        (b"XYZZY", b"500 5.5.2"),
        (b"", b"500 5.5.2"),
        (b"\xff\xfe", b"500 5.5.2"),
        ("ÄHLO x".encode(), b"500 5.5.2"),
    ],
)
def test_every_line_gets_its_reply(line: bytes, reply: bytes) -> None:
    """Stock ESMTP knows no NOOP, VRFY or HELP, and hangs up on octets above 127."""
    Talk().greeted().says(line).hears(reply)


def test_help_lists_the_commands() -> None:
    """HELP is for people who type SMTP by hand."""
    Talk().greeted().says(b"HELP").hears(b"214-2.0.0 Commands: EHLO", b"214 2.0.0 ")


def test_data_with_an_argument_is_refused() -> None:
    """Stock ESMTP starts to take content after ``DATA foo``."""
    Talk().with_recipient().says(b"DATA foo").hears(b"501 5.5.4")


def test_one_mailbox_named_twice_is_one_recipient() -> None:
    """Stock ESMTP delivers twice."""
    talk = Talk().with_recipient().says(b"RCPT TO:<bob@test.com>").hears(b"250 2.1.5")

    talk.says(b"DATA", b"", b".").hears(b"354 ", b"250 2.0.0")

    assert len(talk.intake.taken[0][0].recipients) == 1


def test_one_mailbox_named_for_ever_has_an_end() -> None:
    """Every RCPT that was answered 250 is remembered, so their number has a limit."""
    talk = Talk(settings=SmtpSettings(most_recipients=100)).with_recipient()
    talk.says(*[b"RCPT TO:<bob@test.com>"] * 99).turns().hears(*[b"250 2.1.5"] * 99)

    talk.says(b"RCPT TO:<bob@test.com>", b"DATA").hears(b"452 4.5.3", b"354 ")


def test_an_empty_message_is_a_message() -> None:
    """A final dot right after DATA ends content of no octets."""
    Talk().with_recipient().says(b"DATA").skips().says(b".").hears(b"250 2.0.0")


def test_the_content_is_kept_octet_for_octet() -> None:
    """Doubled dots are undone, eight bits, tabs and long lines stay."""
    talk = Talk().with_recipient().says(b"DATA").skips()
    long_line = b"x" * 20_000

    talk.says(b"..", b"..a", b".b", b"\xc3\xa9\t", long_line, b"MAIL FROM:<y@b.example>", b".")

    talk.hears(b"250 2.0.0")
    assert talk.intake.taken[0][1] == (
        b".\r\n.a\r\nb\r\n\xc3\xa9\t\r\n" + long_line + b"\r\nMAIL FROM:<y@b.example>\r\n"
    )


@pytest.mark.parametrize(
    ("trouble", "reply"),
    [
        (MailboxFull(), b"452 4.2.2"),
        (StorageFull(), b"452 4.3.1"),
        (StorageFailed(), b"451 4.3.0"),
        (TooBusy(), b"452 4.3.2"),
        (RuntimeError("a bug"), b"451 4.3.0"),
    ],
)
def test_a_fault_of_ours_asks_to_try_again(trouble: Exception, reply: bytes) -> None:
    """Stock ESMTP makes every fault a permanent 550, and the message is lost."""
    talk = Talk().with_recipient()
    talk.intake.trouble = trouble

    talk.says(b"DATA", b"text", b".").hears(b"354 ", reply)

    talk.says(b"NOOP").hears(b"250 2.0.0")
    assert b"bug" not in talk.transport.written


def test_250_is_said_after_the_commit_only() -> None:
    """While the database writes, the client waits, and so does all it has pipelined."""
    talk = Talk().with_recipient()
    talk.intake.held = []
    talk.says(b"DATA").hears(b"354 ").says(b"text", b".", b"NOOP", b"QUIT").hears()

    talk.intake.held[0].callback(None)

    talk.hears(b"250 2.0.0 OK, stored", b"250 2.0.0 OK", b"221 2.0.0")


def test_a_slow_look_up_keeps_replies_in_order() -> None:
    """Stock ESMTP answers pipelined RCPTs in the order of their look-ups, even after DATA."""
    talk = Talk().greeted()
    talk.directory.held = []
    talk.says(b"MAIL FROM:<>", b"RCPT TO:<bob@test.com>", b"RCPT TO:<no@test.com>", b"DATA")
    assert talk.unheard() == b""

    while talk.directory.held:
        talk.directory.held.pop(0).callback(None)

    talk.hears(b"250 2.1.0", b"250 2.1.5", b"550 5.1.1", b"354 ")


def test_a_group_of_replies_leaves_in_one_write() -> None:
    """RFC 2920 section 3.2: replies to a pipelined group go together."""
    talk = Talk().greeted()
    before = talk.transport.writes

    talk.says(b"MAIL FROM:<>", b"RCPT TO:<bob@test.com>", b"DATA")

    assert talk.transport.writes == before + 1


def test_too_many_recipients_are_put_off() -> None:
    """RFC 5321 section 4.5.3.1.10: 452, and those accepted before stay."""
    talk = Talk(settings=SmtpSettings(most_recipients=100)).with_recipient()
    account = talk.directory.accounts["bob@test.com"]
    talk.directory.accounts |= {f"u{n}@test.com": account for n in range(100)}
    talk.says(*(b"RCPT TO:<u%d@test.com>" % n for n in range(99))).turns().skips()

    talk.says(b"RCPT TO:<u99@test.com>").hears(b"452 4.5.3")

    talk.says(b"DATA", b".").hears(b"354 ", b"250 2.0.0")
    assert len(talk.intake.taken[0][0].recipients) == 100


def test_too_many_errors_end_the_session() -> None:
    """Stock ESMTP answers a thousand bad commands."""
    talk = Talk(settings=SmtpSettings(most_errors=3)).greeted()

    talk.says(b"A", b"B", b"C", b"NOOP").hears(b"500 ", b"500 ", b"421 4.7.0")

    assert talk.transport.closed


def test_too_many_connections_are_sent_away() -> None:
    """A client over the limit hears why and may come back."""
    talk = Talk(admit=lambda: False).hears(b"421 4.7.0")

    assert talk.transport.closed


def test_a_message_over_the_size_is_refused_and_read_to_its_end() -> None:
    """Its tail is never taken for commands, and the connection goes on."""
    talk = Talk(settings=SmtpSettings(largest_message=1000)).with_recipient()
    talk.says(b"DATA").skips()

    talk.says(b"x" * 600, b"RSET", b"x" * 600, b"QUIT", b".").hears(b"552 5.3.4")

    talk.says(b"NOOP").hears(b"250 2.0.0")
    assert talk.intake.taken == []


def test_mail_is_put_off_while_the_disk_is_short() -> None:
    """RFC 1870 section 6.1: also when only the declared size does not fit."""
    talk = Talk().greeted()
    talk.free = 1000
    talk.says(b"MAIL FROM:<> SIZE=2000").hears(b"452 4.3.1")
    talk.says(b"MAIL FROM:<>", b"RCPT TO:<bob@test.com>", b"DATA").skips()
    talk.free = 10

    talk.says(b"x" * 100, b".").hears(b"452 4.3.1")

    assert talk.intake.taken == []
    assert talk.room.used == 0


def test_a_silent_client_is_sent_away() -> None:
    """RFC 5321 section 4.5.3.2.7."""
    talk = Talk().greeted()

    talk.clock.advance(299)
    talk.says(b"NOOP").hears(b"250 2.0.0")
    talk.clock.advance(299)
    assert not talk.transport.closed
    talk.clock.advance(2)

    talk.hears(b"421 4.4.2")
    assert talk.transport.closed


def test_a_session_ends_at_last() -> None:
    """A client that says NOOP for ever is sent away after an hour."""
    talk = Talk().greeted()

    for _ in range(59):
        talk.clock.advance(60)
        talk.says(b"NOOP").hears(b"250 2.0.0")
    talk.clock.advance(60)

    talk.hears(b"421 4.4.2")


def test_a_lost_connection_in_the_middle_of_a_message_stores_nothing() -> None:
    """Half a message is no message; its memory is given back."""
    talk = Talk().with_recipient().says(b"DATA", b"half a").skips()

    talk.hangs_up()

    assert talk.intake.taken == []
    assert talk.room.used == 0
    assert len(talk.factory.background) == 0


def test_a_commit_under_way_goes_on_when_the_client_is_gone() -> None:
    """The message is stored; nobody is there to hear it."""
    talk = Talk().with_recipient()
    talk.intake.held = []
    talk.says(b"DATA", b"text", b".")

    talk.hangs_up()
    talk.intake.held[0].callback(None)

    assert len(talk.intake.taken) == 1
    assert len(talk.factory.background) == 0


def test_stopping_says_good_bye_to_those_who_wait() -> None:
    """Stock ESMTP just drops them."""
    talk = Talk().greeted()

    talk.factory.interrupt()

    talk.hears(b"421 4.3.2")
    assert talk.transport.closed


def test_stopping_answers_a_commit_under_way_first() -> None:
    """The 250 of a stored message is never lost, or the client would send it again."""
    talk = Talk().with_recipient()
    talk.intake.held = []
    talk.says(b"DATA").hears(b"354 ").says(b"text", b".")

    talk.factory.interrupt()
    assert not talk.transport.closed
    talk.intake.held[0].callback(None)

    talk.hears(b"250 2.0.0", b"421 4.3.2")
    assert talk.transport.closed


def test_a_commit_that_is_given_up_is_not_answered() -> None:
    """Nobody knows its outcome: a 451 might be wrong, and so might a 250."""
    talk = Talk().with_recipient()
    talk.intake.held = []
    talk.says(b"DATA").hears(b"354 ").says(b"text", b".")

    talk.factory.background.cancel()

    talk.hears()
    assert talk.transport.closed


def test_stopping_does_not_wait_for_the_rest_of_a_message() -> None:
    """A client in the middle of a message hears 421 and keeps it."""
    talk = Talk().with_recipient().says(b"DATA", b"half").hears(b"354 ")

    talk.factory.interrupt()

    talk.hears(b"421 4.3.2")
    assert talk.intake.taken == []


def test_a_client_that_does_not_read_is_cut_off_after_good_bye() -> None:
    """A connection never stays because the other end will not close it."""
    talk = Talk().greeted().says(b"QUIT").hears(b"221 ")
    assert not talk.transport.aborted

    talk.clock.advance(11)

    assert talk.transport.aborted


def test_reading_pauses_while_a_command_is_worked_on() -> None:
    """A client that pipelines for ever fills no memory."""
    talk = Talk().greeted()
    talk.directory.held = []
    talk.says(b"MAIL FROM:<>", b"RCPT TO:<bob@test.com>")

    talk.sends(b"NOOP\r\n" * 20_000)
    assert talk.transport.paused
    talk.directory.held[0].callback(None)
    talk.turns()

    assert not talk.transport.paused
    assert talk.unheard().count(b"250 2.0.0") == 20_000
