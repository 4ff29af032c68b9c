"""Commands in groups; RFC 2449 section 6.6."""

from base64 import b64encode

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
