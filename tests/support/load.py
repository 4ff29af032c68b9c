"""Senders that load the daemon and keep a ledger of what they were told."""

import re
import socket
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from poplib import POP3
from threading import Event, Thread
from typing import Self

_SUBJECT = re.compile(rb"^Subject: token ([a-z0-9-]+) of (\d+) octets\r$", re.MULTILINE)
_HEAD = 2000
"""Octets in which trace, header and the empty line are."""
_LINE = b"The quick brown fox jumps over the lazy dog, and the dog does not mind.\r\n"
_PIECE = _LINE * (64 * 1024 // len(_LINE))


class Gone(Exception):
    """The daemon closed the connection, or it broke."""


@dataclass
class Ledger:
    """What became of every message that was begun, by its token."""

    accepted: set[str] = field(default_factory=set)
    """Answered with 250."""
    refused: set[str] = field(default_factory=set)
    """Answered with 4yz or 5yz, or not sent to its end."""
    unanswered: set[str] = field(default_factory=set)
    """Sent to its end, and then the connection broke."""
    replies: Counter[str] = field(default_factory=Counter)
    """How often each reply came that is no 250 to a message."""

    def add(self, other: "Ledger") -> None:
        """Take over what another one knows."""
        self.accepted |= other.accepted
        self.refused |= other.refused
        self.unanswered |= other.unanswered
        self.replies += other.replies

    def check(self, found: Counter[str]) -> None:
        """
        Compare it with the mail that is there.

        Raises:
            AssertionError: A message was lost, doubled, or is there though it was refused.
        """
        lost = self.accepted - found.keys()
        doubled = {token for token, times in found.items() if times > 1}
        refused = self.refused & found.keys()
        unknown = found.keys() - self.accepted - self.refused - self.unanswered
        assert not lost, f"{len(lost)} messages were lost: {sorted(lost)[:5]}"
        assert not doubled, f"{len(doubled)} messages are there twice: {sorted(doubled)[:5]}"
        assert not refused, f"{len(refused)} refused messages are there: {sorted(refused)[:5]}"
        assert not unknown, f"nobody sent these: {sorted(unknown)[:5]}"


class Line:
    """
    One SMTP connection, with no more between us and the socket than is needed.

    Args:
        port: Of a listener for other servers.
        timeout: Seconds until a silent daemon counts as gone.
        source: Our address; the system has 28,000 ports for each.
    """

    def __init__(self, port: int, timeout: float = 30.0, source: str = "127.0.0.1") -> None:
        try:
            self._socket = socket.create_connection(
                ("127.0.0.1", port), timeout=timeout, source_address=(source, 0)
            )
        except OSError as error:
            raise Gone(str(error)) from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._heard = b""

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def say(self, octets: bytes) -> None:
        """Send octets."""
        try:
            self._socket.sendall(octets)
        except OSError as error:
            raise Gone(str(error)) from None

    def hear(self) -> str:
        """Wait for one reply and give its last line."""
        while True:
            line, end, rest = self._heard.partition(b"\r\n")
            if not end:
                self._hear_more()
                continue
            self._heard = rest
            if line[3:4] != b"-":
                return line.decode()

    def _hear_more(self) -> None:
        try:
            octets = self._socket.recv(65536)
        except OSError as error:
            raise Gone(str(error)) from None
        if not octets:
            raise Gone("the daemon closed the connection")
        self._heard += octets


class Sender:
    """
    One client, which sends one message after the other until it is told to end.

    Args:
        port: Of a listener for other servers.
        name: Starts its tokens.
        recipient: Who gets the mail.
        octets: Size of a message, roughly.
        stop: Set: end after the message under way.
        most: Messages to send; 0: until *stop* is set or the connection breaks.
    """

    def __init__(
        self, port: int, name: str, recipient: str, *, octets: int, stop: Event, most: int = 0
    ) -> None:
        self.ledger = Ledger()
        self._port = port
        self._name = name
        self._octets = octets
        self._stop = stop
        self._most = most
        self._envelope = (
            b"MAIL FROM:<load@example.com>\r\nRCPT TO:<%s>\r\nDATA\r\n" % recipient.encode()
        )

    def run(self) -> None:
        """Send; never raises for what the daemon does."""
        try:
            with closing(Line(self._port)) as line:
                if self._heard(line).startswith("220"):
                    line.say(b"EHLO client.example.com\r\n")
                    self._heard(line)
                    self._send_all(line)
        except Gone:
            return

    def _send_all(self, line: Line) -> None:
        number = 0
        while not self._stop.is_set() and (not self._most or number < self._most):
            if not self._send_one(line, f"{self._name}-{number}"):
                return
            number += 1

    def _send_one(self, line: Line, token: str) -> bool:
        """Send one message; False: the daemon has said good-bye."""
        self.ledger.refused.add(token)
        line.say(self._envelope)
        for wanted in ("250", "250", "354"):
            reply = self._heard(line)
            if not reply.startswith(wanted):
                return not reply.startswith("421") and self._start_over(line)
        for piece in _content(token, self._octets):
            line.say(piece)
        self._move(token, self.ledger.unanswered)
        reply = line.hear()
        if reply.startswith("250"):
            self._move(token, self.ledger.accepted)
            return True
        self._move(token, self.ledger.refused)
        self.ledger.replies[reply] += 1
        return not reply.startswith("421")

    def _start_over(self, line: Line) -> bool:
        """Drop what is left of a group of commands whose first was refused."""
        line.say(b"RSET\r\nNOOP mark\r\n")
        while not (reply := line.hear()).startswith("250"):
            if reply.startswith("421"):
                return False
        line.hear()
        return True

    def _heard(self, line: Line) -> str:
        reply = line.hear()
        if not reply.startswith(("2", "354")):
            self.ledger.replies[reply] += 1
        return reply

    def _move(self, token: str, there: set[str]) -> None:
        for known in (self.ledger.accepted, self.ledger.refused, self.ledger.unanswered):
            known.discard(token)
        there.add(token)


def _content(token: str, octets: int) -> Iterator[bytes]:
    """Make a message with its final dot; nothing but its very end completes it."""
    pieces, rest = divmod(octets, len(_PIECE))
    tail = _LINE * (rest // len(_LINE))
    body = pieces * len(_PIECE) + len(tail)
    head = f"From: load@example.com\r\nSubject: token {token} of {body} octets\r\n\r\n".encode()
    if not pieces:
        yield head + tail + b".\r\n"
        return
    yield head
    for _ in range(pieces):
        yield _PIECE
    yield tail + b".\r\n"


class Load:
    """
    Many senders at once.

    Args:
        port: Of a listener for other servers.
        name: Starts all tokens; unlike that of every other load.
        senders: How many.
        octets: Size of a message, roughly.
        recipient: Who gets the mail.
        most: Messages of each sender; 0: until it is stopped.
    """

    def __init__(
        self,
        port: int,
        name: str,
        *,
        senders: int = 20,
        octets: int = 2000,
        recipient: str = "bob@test.com",
        most: int = 0,
    ) -> None:
        self._stop = Event()
        self._senders = [
            Sender(port, f"{name}-{n}", recipient, octets=octets, stop=self._stop, most=most)
            for n in range(senders)
        ]
        self._threads = [Thread(target=sender.run, daemon=True) for sender in self._senders]

    def start(self) -> Self:
        """Start all senders."""
        for thread in self._threads:
            thread.start()
        return self

    @property
    def accepted(self) -> int:
        """How many messages were accepted until now."""
        return sum(len(sender.ledger.accepted) for sender in self._senders)

    def stop(self) -> None:
        """Let the senders end after the message under way."""
        self._stop.set()

    def finish(self, seconds: float = 60.0) -> Ledger:
        """Wait until all senders have ended, and give what they know together."""
        ledger = Ledger()
        for sender, thread in zip(self._senders, self._threads, strict=True):
            thread.join(seconds)
            assert not thread.is_alive(), f"a sender is stuck after {seconds:.0f} seconds"
            ledger.add(sender.ledger)
        return ledger


def stored_tokens(database: Path, after: int = 0) -> tuple[Counter[str], int]:
    """
    Count the messages in an SQLite database by their tokens, past the daemon.

    Args:
        database: The file.
        after: Messages up to this number are known.

    Returns:
        How often each token is in a folder, and the highest number of a message.
    """
    found: Counter[str] = Counter()
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT entry.message_id, substr(coalesce(message.body, first.body), 1, ?),"
            " coalesce(length(message.body), (SELECT sum(length(chunk.body)) FROM chunk"
            "  WHERE chunk.message_id = message.id))"
            " FROM entry JOIN message ON message.id = entry.message_id"
            " LEFT JOIN chunk first ON first.message_id = message.id AND first.number = 0"
            " WHERE entry.message_id > ?",
            (_HEAD, after),
        )
        for number, head, octets in rows:
            found[checked_token(head, octets)] += 1
            after = max(after, number)
    return found, after


def collected_tokens(client: POP3, *, whole: bool = True) -> Counter[str]:
    """
    Count the messages in a maildrop by their tokens, as a user sees it.

    Args:
        client: Logged in.
        whole: Collect whole messages; False: their headers and sizes are enough.
    """
    found: Counter[str] = Counter()
    sizes = [int(line.split()[1]) for line in client.list()[1]]
    for number, size in enumerate(sizes, start=1):
        lines = client.retr(number)[1] if whole else [*client.top(number, 0)[1]]
        content = b"\r\n".join(lines) + b"\r\n"
        found[checked_token(content, len(content) if whole else size)] += 1
    return found


def checked_token(content: bytes, octets: int) -> str:
    """
    Find the token of a message, and see that nothing of the message is missing.

    Args:
        content: All of it, or its start.
        octets: The size of all of it.

    Returns:
        The token; words that are no token when the message is not as it was sent.
    """
    head, _, body = content.partition(b"\r\n\r\n")
    match = _SUBJECT.search(head + b"\r\n")
    if match is None:
        return f"no token in {content[:100]!r}"
    if octets - len(head) - 4 != int(match[2]) or not _of_our_lines(body):
        return f"{match[1].decode()} is damaged: {octets} octets, {content[-100:]!r}"
    return match[1].decode()


def _of_our_lines(body: bytes) -> bool:
    """Whether a body, or its start, is made of the lines that we send."""
    times, rest = divmod(len(body), len(_LINE))
    return body == _LINE * times + _LINE[:rest]
