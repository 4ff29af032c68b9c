"""Whatever is in the mail, and whatever a client does with it."""

from pathlib import Path
from typing import NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailsvc.store.deliveries import CHUNK
from tests.support.pop3_store import SqliteMaildrops
from tests.support.pop3_talk import PostOffice, Talk, faults, logs

KIB = 1024
pieces = st.sampled_from(
    [b"\r\n", b"\r\n\r\n", b"\r\n.", b".", b"\r", b"\n", b"\0", b"\xff", b"Subject: x\r\n", b"+OK"]
)
contents = st.lists(pieces | st.binary(max_size=20), max_size=14).map(b"".join)


def on_the_wire(content: bytes) -> bytes:
    """Write a text as RFC 1939 section 3 wants it, its end included."""
    ended = content if (b"\r\n" + content).endswith(b"\r\n") else content + b"\r\n"
    return (b"\r\n" + ended).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


def top_of(content: bytes, count: int) -> bytes:
    """Cut a message behind its header and some lines; RFC 1939 section 7."""
    empty = 0 if content.startswith(b"\r\n") else content.find(b"\r\n\r\n") + 2
    start = empty + 2
    lines = content[start:].split(b"\r\n")
    if empty == 1 or count >= len(lines):  # no empty line, or not so many lines
        return content
    return content[:start] + b"".join(line + b"\r\n" for line in lines[:count])


class Expected(NamedTuple):
    """An answer: the start of its first line, and the text behind it, as on the wire."""

    first: bytes
    text: bytes = b""


def hears_all(talk: Talk, command: bytes, expected: Expected) -> None:
    """Send a command and compare everything that comes back."""
    before = len(talk.all_heard)
    talk.says(command)
    first, _, text = talk.all_heard[before:].partition(b"\r\n")
    assert first.startswith(expected.first), f"{command!r}: {first!r}"
    assert text == expected.text, command


def check(office: PostOffice, *bodies: bytes) -> None:
    """Read each message of Alice in every way, and the listings."""
    talk = office.log_in()
    for number, content in enumerate(bodies, 1):
        octets = len(content)
        hears_all(talk, b"LIST %d" % number, Expected(b"+OK %d %d" % (number, octets)))
        for command in (b"RETR %d", b"TOP %d 9999999999"):
            hears_all(talk, command % number, Expected(b"+OK", on_the_wire(content)))
        top = on_the_wire(top_of(content, 0))
        hears_all(talk, b"TOP %d 0" % number, Expected(b"+OK", top))
    octets = sum(map(len, bodies))
    hears_all(talk, b"STAT", Expected(b"+OK %d %d" % (len(bodies), octets)))
    talk.says(b"QUIT").is_hung_up_on()


@settings(max_examples=200)
@given(st.lists(contents, min_size=1, max_size=3), st.sampled_from([0, 20, 999]), st.integers(1, 9))
@example([b""], 0, 1)
@example([b"\r\n" * 9], 0, 1)
@example([b"a" * 99 + b"\r\n.\r\n" + b"." * 99 + b"\r\n"], 0, 3)
def test_all_mail_comes_octet_for_octet(bodies: list[bytes], inline: int, chunk: int) -> None:
    """
    Through RETR and TOP, whatever dots it has and wherever its chunks end.

    Stock Twisted looks for dots in pieces of 16 KiB: a mail with a line end at one edge
    and a dot behind it ends RETR early, and what follows is taken for the next reply.
    """
    office = PostOffice(inline=inline, chunk=chunk)
    office.add(b"alice", *bodies)
    check(office, *bodies)


def nasty(octets: int) -> bytes:
    """Write a message that has dots, line ends and parts of them wherever something ends."""
    content = bytearray((b"Subject: n\r\n\r\n" + b"\xff\0." * octets)[: octets - 2] + b"\r\n")
    for number, edge in enumerate(range(16 * KIB, octets - 8, 16 * KIB)):
        shift = number % 5  # CRLF.CRLF with the edge at each of its places
        content[edge - shift : edge - shift + 5] = b"\r\n.\r\n"
    return bytes(content)


EDGES = [size * KIB + more for size in (64, 256, 512) for more in (-1, 0, 1)]


def test_nothing_is_lost_at_the_edges_of_large_messages() -> None:
    """Around 64 KiB, 256 KiB and twice that: where storage begins another piece."""
    bodies = [nasty(octets) for octets in EDGES]
    office = PostOffice()
    office.add(b"alice", *bodies)
    check(office, *bodies)


def test_the_database_gives_back_what_it_took(tmp_path: Path) -> None:
    """The same, from SQLite and its own chunks; a sample."""
    store = SqliteMaildrops(tmp_path, single=True)
    bodies = [b"", b"\r\n", b".\r\n" * 9, bytes(range(256)) + b"\r\n"]
    bodies += [nasty(CHUNK + more) for more in (-1, 0, 1, CHUNK - 1, CHUNK, CHUNK + 1)]
    bodies += [b"." * (CHUNK - cut) + b"\r\n.\r\n" + b"." * CHUNK + b"\r\n" for cut in range(6)]
    account = store.make_account(1)
    store.fill(account, *bodies)
    office = PostOffice(maildrops=store.maildrops)
    office.admit(b"alice", account)

    check(office, *bodies)
    store.engines.close()


class Model:
    """What a maildrop is, in a page: for comparison with ours."""

    def __init__(self, bodies: list[bytes]) -> None:
        self.bodies = dict(enumerate(bodies, 1))
        self.marked: set[int] = set()

    @property
    def left(self) -> dict[int, bytes]:
        """What is not marked."""
        return {number: self.bodies[number] for number in sorted(self.bodies.keys() - self.marked)}

    def answer(self, command: bytes) -> Expected:
        """Answer a command, and do it."""
        verb, *arguments = command.split(b" ")
        if verb == b"STAT":
            return Expected(b"+OK %d %d" % (len(self.left), sum(map(len, self.left.values()))))
        if verb == b"LIST" and not arguments:
            lines = [b"%d %d\r\n" % (number, len(body)) for number, body in self.left.items()]
            return Expected(b"+OK", b"".join(lines) + b".\r\n")
        if verb in (b"RSET", b"NOOP"):
            self.marked -= self.marked if verb == b"RSET" else set()
            return Expected(b"+OK")
        return self._about_one(verb, *map(int, arguments))

    def _about_one(self, verb: bytes, number: int, count: int = 0) -> Expected:
        body = self.left.get(number)
        if body is None:
            return Expected(b"-ERR no such message")
        if verb == b"DELE":
            self.marked.add(number)
            return Expected(b"+OK")
        if verb == b"LIST":
            return Expected(b"+OK %d %d" % (number, len(body)))
        return Expected(b"+OK", on_the_wire(top_of(body, count) if verb == b"TOP" else body))


numbers = st.integers(0, 7).map(lambda number: b"%d" % number)
commands = st.sampled_from([b"STAT", b"LIST", b"RSET", b"NOOP"]) | st.builds(
    lambda verb, number: verb % number,
    st.sampled_from([b"DELE %b", b"DELE %b", b"RETR %b", b"LIST %b", b"TOP %b 0", b"TOP %b 2"]),
    numbers,
)


@settings(max_examples=150)
@given(
    st.lists(contents, max_size=6),
    st.lists(commands, max_size=25),
    st.sampled_from(["QUIT", "a lost line", "an autologout"]),
    st.sampled_from([0, 30]),
)
def test_any_session_does_what_was_asked(
    bodies: list[bytes], asked: list[bytes], end: str, inline: int
) -> None:
    """Each answer is as a page of code says; QUIT removes what is marked, any other end nothing."""
    office, model = PostOffice(inline=inline, chunk=7), Model(bodies)
    account = office.add(b"alice", *bodies)
    talk = office.log_in()
    with logs() as heard:
        for command in asked:
            hears_all(talk, command, model.answer(command))
        if end == "QUIT":
            talk.says(b"QUIT").is_hung_up_on()
        elif end == "a lost line":
            talk.loses_its_line()
        else:
            talk.waits(601).is_hung_up_on()

    expected = list(model.left.values()) if end == "QUIT" else bodies
    assert office.maildrops.mail_of(account) == expected
    assert not office.maildrops.is_taken(account)
    assert not faults(heard)
