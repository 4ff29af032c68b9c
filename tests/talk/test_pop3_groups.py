"""RETRs that come together are answered together, as if each had come alone."""

from collections.abc import Iterable, Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailsvc.config.settings import LogLevel, LogSettings, Pop3Settings, Settings, Utf8Headers
from mailsvc.model.story import Handling
from tests.support.pop3_talk import PostOffice, Talk, faults, logs

BODIES = (
    b"Subject: 1\r\n\r\n.dots\r\n",
    b"Subject: 2\r\n\r\n",
    "Subject: 你好\r\n\r\nHello\r\n".encode(),
    "\r\n你好\r\n".encode(),
    b"",
    b"Subject: a large one\r\n\r\n" + b"y" * 300 + b"\r\n",
    b"last",
)
lines = st.sampled_from([b"RETR %d" % number for number in range(len(BODIES) + 2)]) | (
    st.sampled_from(
        [b"DELE 2", b"RSET", b"STAT", b"retr 1", b"RETR 1 ", b"RETR", b"RETR 12345678901"]
    )
    | st.sampled_from([b"TOP 1 0", b"TOP 3 0", b"TOP 4 0", b"XYZZY"])
)


def play(
    segments: Iterable[Sequence[bytes]], headers: Utf8Headers
) -> tuple[bytes, list[Handling], int]:
    """Give what a client hears, what was taken down, and how many messages it got."""
    office = PostOffice(Settings(pop3=Pop3Settings(utf8_headers=headers)), inline=200, chunk=64)
    taken = list[Handling]()
    office.factory.handled = taken.append
    office.add(b"alice", *BODIES)
    talk = office.log_in()
    session = talk._protocol._known  # noqa: SLF001 - for its count
    assert session is not None
    for segment in segments:
        if not talk.transport.closed:
            talk.says(*segment)
        office.clock.pump([1.0] * 60)
    return talk.all_heard, taken, session.sent


@settings(max_examples=200, deadline=None)
@given(st.lists(lines, min_size=1, max_size=40), st.sampled_from(Utf8Headers))
@example([b"RETR 1", b"DELE 2", b"RETR 2", b"RETR 7", b"RETR 7"], Utf8Headers.SEND)
@example([b"RETR 1", b"STAT", b"RETR 0", b"NOOP", b"RETR 8", b"RETR 2"], Utf8Headers.SEND)
@example([b"RETR 1", b"RETR 2", b"RETR 3", b"RETR 4", b"TOP 4 0"], Utf8Headers.REFUSE)
def test_a_group_is_answered_as_its_commands_are(group: list[bytes], headers: Utf8Headers) -> None:
    """What is answered together sounds, counts and is taken down as one by one."""
    assert play([group], headers) == play([[line] for line in group], headers)


def full(*bodies: bytes, settings: Settings | None = None) -> Talk:
    """Log Alice in, who has mail; the first message is read, the others are in memory."""
    office = PostOffice(settings, inline=100_000)
    office.add(b"alice", b"first\r\n", *bodies)
    return office.log_in().says(b"RETR 1").hears(b"+OK 7", b"first", b".")


def retrs(first: int, last: int) -> list[bytes]:
    """Ask for some messages."""
    return [b"RETR %d" % number for number in range(first, last + 1)]


def test_wrong_commands_are_counted_anew_behind_a_group() -> None:
    """It says that the client knows what it does."""
    talk = full(*[b"one\r\n"] * 3)
    wrong = [b"XYZZY"] * (talk.office.settings.pop3.most_errors - 1)

    talk.says(*wrong[:1], *retrs(2, 3), *wrong, b"NOOP")
    talk.office.clock.pump([60] * len(wrong))

    assert talk.all_heard.endswith(b"+OK done\r\n")


def test_the_replies_of_a_group_leave_in_good_writes() -> None:
    """64 KiB, and what the last one has more."""
    talk = full(*[b"x" * 9000 + b"\r\n"] * 15)
    before = len(talk.transport.writes)

    talk.says(*retrs(2, 16))

    sizes = [len(write) for write in talk.transport.writes[before:]]
    assert [size // 9000 for size in sizes] == [8, 7]


def test_a_group_waits_for_a_client_that_does_not_read() -> None:
    """One write lies there, however much was asked for."""
    talk = full(*[b"x" * 9000 + b"\r\n"] * 15)
    heard = len(talk.all_heard)
    talk.transport.full = True

    talk.says(b"NOOP", *retrs(2, 16))

    assert len(talk.all_heard) - heard < 64 * 1024 + 9100
    talk.transport.drain()
    talk.office.turn()
    assert talk.all_heard.count(b"+OK 9002") == 15


def test_a_reply_that_is_large_by_itself_has_no_group_behind_it() -> None:
    """What lies there for a client that does not read is bounded."""
    talk = full(*[b"x" * 66_000 + b"\r\n"] * 3)
    heard = len(talk.all_heard)
    talk.transport.full = True

    talk.says(*retrs(2, 4))

    assert len(talk.all_heard) - heard < 67_000


def test_a_group_does_not_keep_the_others_waiting() -> None:
    """After a hundred and some commands it is their turn."""
    office, taken = PostOffice(), list[Handling]()
    office.factory.handled = taken.append
    office.add(b"alice", *[b"one\r\n"] * 400)
    talk = office.log_in()

    talk._protocol.dataReceived(b"".join(b"RETR %d\r\n" % n for n in range(1, 401)))  # noqa: SLF001 - without the turns

    assert 50 <= len(taken) < 150
    office.turn()
    assert len(taken) == 400


def test_each_command_of_a_group_stands_in_the_log() -> None:
    """Of a service whose level is debug."""
    with logs() as heard:
        full(*[b"one\r\n"] * 3, settings=Settings(log=LogSettings(level=LogLevel.DEBUG))).says(
            *retrs(2, 4)
        )

    said = [event["said"] for event in heard if "said" in event]
    assert said[-4:] == retrs(1, 4)


def test_a_fault_of_ours_costs_one_reply() -> None:
    """As it does when the command comes alone."""
    talk = full(*[b"one\r\n"] * 3)
    session = talk._protocol._known  # noqa: SLF001 - to break it
    assert session is not None

    def fail(handling: Handling) -> None:
        if handling[-1] == 3:
            raise RuntimeError("broken")

    session._handled = fail  # noqa: SLF001 - to break it

    with logs() as heard:
        talk.says(b"NOOP", *retrs(2, 4))

    talk.hears(b"+OK", b"+OK 5", b"one", b".", b"-ERR [SYS/TEMP]", b"+OK 5", b"one", b".")
    assert len(faults(heard)) == 2
