"""Whatever a client sends, and however TCP cuts it up."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.pop3_talk import PASSWORD, PostOffice, faults, logs

BODIES = (b"Subject: x\r\n\r\n.one\r\n", b"\r\n", b"y" * 300 + b"\r\n.\r\n")

commands = st.sampled_from(
    [
        b"USER alice\r\n",
        b"PASS " + PASSWORD + b"\r\n",
        b"PASS wrong\r\n",
        b"STAT\r\n",
        b"LIST\r\n",
        b"UIDL 2\r\n",
        b"RETR 1\r\n",
        b"RETR 3\r\n",
        b"TOP 3 1\r\n",
        b"DELE 2\r\n",
        b"DELE 0\r\n",
        b"RSET\r\n",
        b"NOOP\n",
        b"CAPA\r\n",
        b"QUIT\r\n",
        b"\r\n",
        b"\xff\0 \r\r\n",
        b"z" * 300 + b"\r\n",
    ]
)
login = b"USER alice\r\nPASS " + PASSWORD + b"\r\n"
sessions = st.tuples(st.sampled_from([b"", login]), st.lists(commands, max_size=12)).map(
    lambda parts: parts[0] + b"".join(parts[1])
)


def replies_to(segments: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Play a session; give what was heard and what is left of the mail."""
    office = PostOffice(inline=200, chunk=64)
    account = office.add(b"alice", *BODIES)
    talk = office.connect()
    with logs() as heard:
        for segment in segments:
            if not talk.transport.closed:
                talk.sends(segment)
        talk.loses_its_line()
    assert faults(heard) == []
    assert len(office.background) == 0
    assert office.clock.getDelayedCalls() == []
    assert not office.maildrops.is_taken(account)
    return talk.all_heard, office.maildrops.mail_of(account)


@settings(max_examples=100, deadline=None)
@given(sessions, st.lists(st.integers(0, 400), max_size=12))
def test_the_edges_of_segments_do_not_matter(session: bytes, cuts: list[int]) -> None:
    """However TCP cuts a session up, the client hears the same."""
    edges = [0, *sorted(cut for cut in cuts if cut < len(session)), len(session)]
    segments = [session[start:end] for start, end in itertools.pairwise(edges)]

    assert replies_to(segments) == replies_to([session])


@settings(max_examples=100, deadline=None)
@given(st.booleans(), st.lists(st.binary(max_size=300) | commands, max_size=10))
def test_no_octets_crash_a_session(logged_in: bool, segments: list[bytes]) -> None:  # noqa: FBT001
    """Nothing is logged as a fault of ours, nothing is left behind."""
    heard, _ = replies_to([login if logged_in else b"", *segments])
    assert heard.startswith(b"+OK ")
    assert heard.endswith(b"\r\n")
