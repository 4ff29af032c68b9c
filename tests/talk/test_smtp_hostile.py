"""What attackers send; stock Twisted falls to each of these."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.config.settings import Kind, LineEnds, SmtpSettings
from mailsvc.errors import Refused
from mailsvc.model.status import Status
from tests.support.smtp_talk import Talk

SMUGGLED = b"MAIL FROM:<evil@a.example>\r\nRCPT TO:<alice@test.com>\r\nDATA\r\n\r\nevil\r\n"
FALSE_ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\n.\r",
    b"\r.\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\n\n.\n\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\n.\r\n\r\n",
]


@pytest.mark.parametrize("false_end", FALSE_ENDS)
def test_only_crlf_dot_crlf_ends_a_message(false_end: bytes) -> None:
    """SMTP smuggling: what follows a false end is neither stored nor run as commands."""
    talk = Talk().with_recipient().says(b"DATA").skips()

    talk.sends(b"one" + false_end + SMUGGLED + b"\r\n.\r\n")

    talk.hears(b"550 5.6.11")
    assert talk.intake.taken == []


@pytest.mark.parametrize("bad", [b"a\rb", b"a\nb", b"a\0b", b"\r", b"\n", b"a\r\r\nb"])
def test_bare_line_ends_and_nul_are_refused(bad: bytes) -> None:
    """RFC 5321 section 4.1.1.4 forbids them; stock ESMTP stores and relays them."""
    talk = Talk().with_recipient().says(b"DATA").skips().says(bad, b".")

    talk.hears(b"550 5.6.11").says(b"NOOP").hears(b"250 2.0.0")


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (b"a\nb\rc\r\nd", b"a\r\nb\r\nc\r\nd\r\n"),
        (b"a\0b", b"ab\r\n"),
        (b"a\r\r\nb", b"a\r\n\r\nb\r\n"),
    ],
)
def test_submission_repairs_line_ends_if_told_so(sent: bytes, stored: bytes) -> None:
    """``submission_line_ends: repair`` helps clients that cannot do better."""
    settings = SmtpSettings(submission_line_ends=LineEnds.REPAIR)
    talk = Talk(Kind.SUBMISSION, settings=settings).logged_in()
    talk.says(b"MAIL FROM:<alice@test.com>", b"RCPT TO:<bob@test.com>", b"DATA").skips()

    talk.says(sent, b".").hears(b"250 2.0.0")

    assert talk.intake.taken[0][1] == stored


def test_mail_from_other_servers_is_never_repaired() -> None:
    """Repairing is for our own users' programs."""
    settings = SmtpSettings(submission_line_ends=LineEnds.REPAIR)
    talk = Talk(settings=settings).with_recipient().says(b"DATA").skips()

    talk.says(b"a\nb", b".").hears(b"550 5.6.11")


def test_a_long_line_inside_a_message_is_content() -> None:
    """Stock ESMTP leaves DATA at 16 KiB and runs the rest as commands."""
    talk = Talk().with_recipient().says(b"DATA").skips()

    talk.sends(b"x" * 17_000 + b"\r\n" + SMUGGLED + b".\r\n").hears(b"250 2.0.0")

    [(envelope, content)] = talk.intake.taken
    assert str(envelope.recipients[0].address) == "bob@test.com"
    assert content.startswith(b"x" * 17_000)


def test_a_long_command_is_dropped_and_nothing_else() -> None:
    """Stock ESMTP forgets the commands behind it, and replies go out of step."""
    talk = Talk().greeted()

    talk.says(b"NOOP " + b"x" * 5000, b"NOOP").hears(b"500 5.5.2", b"250 2.0.0")


def test_an_endless_line_costs_no_memory() -> None:
    """Stock ESMTP keeps it all and searches it again with each segment."""
    talk = Talk().greeted()

    for _ in range(1000):
        talk.sends(b"x" * 10_000)

    assert len(talk.protocol._dialogue._buffer) <= 20_000  # noqa: SLF001 - the promise is about it
    talk.says(b"", b"NOOP").hears(b"500 5.5.2", b"250 2.0.0")


def test_a_command_that_ends_in_lf_is_not_run() -> None:
    """A line is a line when it ends in CRLF; RFC 5321 section 2.3.8."""
    Talk().greeted().sends(b"RSET\nNOOP\r\n").hears(b"500 5.5.2", b"250 2.0.0")


def test_no_octets_get_into_a_reply() -> None:
    """What a client sends is not echoed, so it can forge no second reply."""
    talk = Talk().greeted().says(b"RCPT TO:<a@b\r250 forged>", b"\r250 forged")

    assert b"forged" not in talk.unheard()


SESSION = [
    b"EHLO client.example\r\nMAIL FROM:<x@a.example> SIZE=100\r\nRCPT TO:<bob@test.com>\r\n",
    b"RCPT TO:<no@test.com>\r\nDATA\r\n",
    b"Subject: dots\r\n\r\n..one\r\n.two\r\n\r\n.\r\n",
    b"NOOP\r\nMAIL FROM:<>\r\nRCPT TO:<alice@test.com>\r\nDATA\r\n.\r\nXYZZY\r\n",
    b"MAIL FROM:<>\r\nRCPT TO:<bob@test.com>\r\nDATA\r\nbare\nline\r\n.\r\n" + b"y" * 3000,
    b"\r\nQUIT\r\n",
]


def replies_to(segments: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Play a session in segments; give all replies and all stored contents."""
    talk = Talk()
    for segment in segments:
        talk.sends(segment)
    return talk.transport.written, [content for _, content in talk.intake.taken]


WHOLE = replies_to([b"".join(SESSION)])


@given(st.lists(st.integers(1, len(b"".join(SESSION)) - 1), max_size=40))
def test_any_split_gives_the_same_replies(cuts: list[int]) -> None:
    """However the network cuts a session into segments, nothing changes."""
    octets = b"".join(SESSION)
    places = [0, *sorted(cuts), len(octets)]

    segments = [octets[a:b] for a, b in pairwise(places)]

    assert replies_to(segments) == WHOLE


def test_octet_by_octet_gives_the_same_replies() -> None:
    """The smallest segments there are."""
    octets = b"".join(SESSION)

    assert replies_to([octets[at : at + 1] for at in range(len(octets))]) == WHOLE
    assert len(WHOLE[1]) == 2


@given(st.lists(st.binary(max_size=200), max_size=10), st.booleans())
def test_no_octets_break_a_session(segments: list[bytes], submits: bool) -> None:  # noqa: FBT001
    """Whatever comes, every reply is well formed and nothing is logged as our fault."""
    talk = Talk(Kind.SUBMISSION if submits else Kind.SMTP).greeted()
    for segment in segments:
        if not talk.transport.closed:
            talk.sends(segment)

    assert b"4.3.0" not in talk.transport.written
    for line in talk.transport.written.split(b"\r\n")[:-1]:
        assert line[:3].isdigit()
        assert line[3:4] in {b" ", b"-"}


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"\0", b"a", b"\r\n", b"\r\n."]), max_size=30))
def test_stored_content_has_clean_lines(parts: list[bytes]) -> None:
    """Whatever is accepted has no bare CR, no bare LF and no NUL."""
    talk = Talk().with_recipient().says(b"DATA")
    for part in parts:
        talk.sends(part)
    talk.sends(b"\r\n.\r\n")

    for _, content in talk.intake.taken:
        assert b"\0" not in content
        assert content.replace(b"\r\n", b"").isascii()
        assert b"\r" not in content.replace(b"\r\n", b"")
        assert b"\n" not in content.replace(b"\r\n", b"")


def test_a_client_that_does_not_read_gets_little_more() -> None:
    """Many small commands with long answers, none of them read, do not pile up in memory."""
    talk = Talk().greeted()
    talk.transport.producer.pauseProducing()

    talk.sends(b"HELP\r\n" * 10_000).turns()

    assert len(talk.unheard()) < 80_000


def test_one_busy_client_lets_the_others_have_their_turn() -> None:
    """After some commands in a row it waits for the next turn of the reactor."""
    talk = Talk().greeted()

    talk.says(*[b"NOOP"] * 150)

    assert talk.unheard().count(b"250") < 150
    assert talk.turns().unheard().count(b"250") == 150


def test_a_client_that_does_not_read_is_cut_off_in_the_end() -> None:
    """It holds its connection for as long as a silent one."""
    talk = Talk().greeted()
    talk.transport.producer.pauseProducing()
    talk.sends(b"HELP\r\n" * 10_000).turns()

    talk.clock.advance(301)

    assert talk.transport.closed


def test_a_long_line_ends_a_login() -> None:
    """What follows an answer that was too long is a command again, not a password."""
    talk = Talk(Kind.SUBMISSION).greeted().says(b"AUTH LOGIN").hears(b"334")

    talk.says(b"x" * 13_000).hears(b"500 5.5.6").says(b"NOOP").hears(b"250 2.0.0")


def test_recipients_above_the_limit_do_not_end_the_session() -> None:
    """RFC 5321 section 4.5.3.1.10: the client sends to those that were accepted."""
    talk = Talk(settings=SmtpSettings(most_recipients=100)).greeted()
    names = [b"RCPT TO:<bob@test.com>"] + [b"RCPT TO:<p%d@test.com>" % n for n in range(99)]
    for number in range(99):
        talk.directory.accounts[f"p{number}@test.com"] = talk.directory.accounts["bob@test.com"]
    talk.says(b"MAIL FROM:<x@a.example>", *names).turns().skips()

    for _ in range(30):
        talk.says(b"RCPT TO:<alice@test.com>").hears(b"452 4.5.3")

    talk.turns().says(b"DATA").hears(b"354")


def test_a_refusal_is_one_line_whatever_a_filter_says() -> None:
    """A filter that quotes the message must not let it write replies."""
    talk = Talk().with_recipient()
    talk.intake.trouble = Refused(Status(5, 7, 1), "spam:\r\n250 2.0.0 OK " + "x" * 1000)

    talk.says(b"DATA", b"x", b".").hears(b"354", b"550 5.7.1 spam: 250 2.0.0 OK xxx")

    assert max(map(len, talk.transport.written.splitlines())) <= 510
