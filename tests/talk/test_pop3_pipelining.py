"""Commands in groups; RFC 2449 section 6.6."""

from base64 import b64encode
from collections.abc import Iterable, Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailsvc.model.story import Handling
from mailsvc.pop3.protocol import Pop3Factory
from mailsvc.wire.dialogue import MOST_BUFFERED
from tests.support.pop3_talk import PASSWORD, PostOffice, Talk


def office_of(*bodies: bytes) -> PostOffice:
    """Alice has some mail."""
    office = PostOffice()
    office.add(b"alice", *bodies)
    return office


def test_a_whole_session_may_come_in_one_segment() -> None:
    """The replies come in order."""
    office = office_of(b"one\r\n")
    talk = office.connect()
    talk.says(b"USER alice", b"PASS " + PASSWORD, b"STAT", b"RETR 1", b"DELE 1", b"QUIT")
    talk.hears(b"+OK", b"+OK", b"+OK", b"+OK 1 5", b"+OK 5").hears_exactly(b"one", b".")
    talk.hears(b"+OK", b"+OK").is_hung_up_on()


def test_the_replies_of_a_group_leave_in_one_write() -> None:
    """One packet to the client, not ten."""
    talk = office_of(b"one\r\n").log_in()
    before = len(talk.transport.writes)

    talk.says(*[b"STAT"] * 10)

    assert len(talk.transport.writes) == before + 1
    talk.hears(*[b"+OK 1 5"] * 10)


def test_messages_of_a_group_leave_together() -> None:
    """As many as make a good write: 64 KiB."""
    talk = office_of(b"x" * 4000 + b"\r\n").log_in()
    before = len(talk.transport.writes)

    talk.says(*[b"RETR 1"] * 40)

    assert len(talk.transport.writes) == before + 3


def test_an_empty_line_is_no_command() -> None:
    """Whoever waits for an answer to each line must not wait for ever."""
    talk = office_of(b"one\r\n").log_in().says(b"").hears(b"-ERR")
    talk.says(b"", b"STAT", b"").hears(b"-ERR", b"+OK 1 5", b"-ERR")


def test_a_response_may_come_in_the_group_of_its_command() -> None:
    """It may be longer than any command."""
    office = office_of(b"one\r\n")
    long = b64encode(b"x" * 300 + b"\0alice\0" + PASSWORD)
    talk = office.connect().hears(b"+OK").says(b"AUTH PLAIN", long, b"NOOP")
    talk.hears(b"+ ", b"-ERR [AUTH]", b"-ERR")


def test_an_error_in_a_group_costs_the_others_nothing() -> None:
    """Stock Twisted forgets what comes behind an error while it is busy."""
    talk = office_of(b"one\r\n").log_in().says(b"RETR 1", b"XYZZY", b"NOOP", b"STAT", b"QUIT")
    talk.hears(b"+OK", b"one", b".", b"-ERR", b"+OK", b"+OK 1 5", b"+OK").is_hung_up_on()


def test_who_asks_for_much_and_reads_nothing_waits() -> None:
    """Stock Twisted answers 50 unread LISTs of 100,000 messages into its memory."""
    talk = office_of(b"x" * 4000 + b"\r\n").log_in()
    talk.transport.full = True

    talk.says(*[b"RETR 1"] * 200)

    assert len(talk.all_heard) < 100_000
    talk.transport.drain()
    talk.office.turn()
    assert talk.all_heard.count(b"+OK 4002") == 200


def test_what_comes_while_the_client_does_not_read_is_answered() -> None:
    """A client may send its next command before it has read the last answer."""
    talk = office_of(b"x" * 4000 + b"\r\n").log_in()
    talk.transport.full = True
    talk.says(b"NOOP").says(b"STAT")

    talk.transport.drain()
    talk.office.turn()

    talk.hears(b"+OK", b"+OK 1 4002").hears_nothing()


def test_who_sends_much_and_reads_nothing_is_not_read() -> None:
    """What waits is bounded; it is read on when the client reads."""
    talk = office_of().log_in()
    talk.transport.full = True
    talk.says(b"NOOP")

    talk.sends(b"NOOP\r\n" * (MOST_BUFFERED // 6 + 1))
    assert not talk.transport.reading

    talk.transport.drain()
    talk.office.turn()
    assert talk.transport.reading


def test_many_commands_let_others_in_between() -> None:
    """A client that sends 1,000 commands at once does not hold up the rest."""
    office = office_of()
    talk, other = office.log_in(), office.connect().hears(b"+OK")

    talk._protocol.dataReceived(b"NOOP\r\n" * 1000)  # noqa: SLF001 - without the turns
    assert talk.all_heard.count(b"done") == 0
    other.says(b"CAPA").hears(b"+OK")
    talk.office.turn()

    talk.hears(*[b"+OK done"] * 1000).hears_nothing()


lines = st.sampled_from([b"RETR %d" % number for number in range(8)]) | st.sampled_from(
    [b"DELE 2", b"RSET", b"STAT", b"retr 1", b"RETR 1 ", b"RETR", b"RETR 12345678901", b"TOP 1 0"]
)


def _play(segments: Iterable[Sequence[bytes]]) -> tuple[bytes, list[Handling]]:
    """Give what a client hears, and what was taken down; the sixth message is a large one."""
    office, taken = PostOffice(inline=200, chunk=64), list[Handling]()
    office.factory.handled = taken.append
    bodies = [b"Subject: %d\r\n\r\n.dots\r\n" % number for number in range(5)]
    office.add(b"alice", *bodies, b"y" * 300 + b"\r\n", b"last")
    talk = office.log_in()
    for segment in segments:
        if not talk.transport.closed:
            talk.says(*segment)
    return talk.all_heard, taken


@settings(max_examples=200, deadline=None)
@given(st.lists(lines, min_size=1, max_size=40))
@example([b"RETR 1", b"DELE 2", b"RETR 2", b"RETR 3", b"RETR 3"])
@example([b"RETR 1", b"STAT", b"RETR 0", b"NOOP", b"RETR 8", b"STAT", b"RETR 12345678901"])
def test_a_group_is_answered_as_its_commands_are(group: list[bytes]) -> None:
    """What is answered together sounds, counts and is taken down as one by one."""
    assert _play([group]) == _play([line] for line in group)


def test_right_answers_of_a_group_count_as_such() -> None:
    """Wrong commands are counted anew behind them."""
    office = office_of(*[b"one\r\n"] * 4)
    talk = office.log_in().says(b"RETR 1").hears(b"+OK", b"one", b".")
    wrong = [b"XYZZY"] * (office.settings.pop3.most_errors - 1)

    talk.says(*wrong[:1], b"RETR 2", b"RETR 3", *wrong, b"NOOP")
    office.clock.pump([60] * len(wrong))

    assert talk.all_heard.endswith(b"+OK done\r\n")


def test_sessions_do_not_mix() -> None:
    """Each has its own maildrop and its own state."""
    office = office_of(b"one\r\n")
    office.add(b"bob", b"1\r\n", b"2\r\n")
    alice, bob = office.log_in(), office.log_in(b"bob")

    alice.says(b"DELE 1").hears(b"+OK")
    bob.says(b"STAT").hears(b"+OK 2 6")

    assert isinstance(office.factory, Pop3Factory)
    assert {type(session) for session in office.factory.sessions} == {type(_first(alice))}


def _first(talk: Talk) -> object:
    return next(iter(talk.office.factory.sessions))
