"""
Send mail to a server as fast as it takes it: the load of bench/smtp_in.py.

A process of its own, so that its cost is not the server's and can be shown:
`python -m bench.load_smtp JOB` prints an outcome; both are JSON.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from bench import smtp_talk
from bench.errors import BenchError, Unexpected
from bench.figures import quantile
from bench.messages import SENDER, USERS, address, wire_content
from bench.messages import token as message_token
from bench.wire import Exchange, Line, Talk


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to send."""

    port: int
    prefix: str
    """Starts the tokens, and is unlike that of every other job."""
    messages: int
    octets: int
    """Of each message, before dots are doubled."""
    connections: int
    kept: bool = True
    """Whether a connection carries all its messages, or one only."""
    recipients: int = 1
    """Of each message."""
    tls: bool = False
    """Whether each connection begins with STARTTLS."""
    first_user: int = 0
    users: int = USERS
    """The recipients are taken in turn from so many users, from the first on."""

    def recipients_of(self, index: int) -> list[int]:
        """Name the users who get one message."""
        start = index * self.recipients
        return [self.first_user + (start + n) % self.users for n in range(self.recipients)]

    def token(self, index: int) -> bytes:
        """Name one message."""
        return message_token(self.prefix, index, self.octets)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of it."""

    began: float
    """Of `time.monotonic`, when all kept connections had said EHLO."""
    ended: float
    """When the last message was answered."""
    cpu_seconds: float
    """What the load itself used meanwhile."""
    refused: list[int]
    """Messages that the server did not take; all others it accepted."""
    median: float
    """Seconds from MAIL, or from connecting where no connection is kept, to the last 250."""
    p99: float


class Load:
    """The state that the clients of one job share."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.indexes: Iterator[int] = iter(range(job.messages))
        self.refused: list[int] = []
        self.seconds: list[float] = []
        self.pipelining = True
        self._mail = b"MAIL FROM:<%s>\r\n" % SENDER.encode()
        self._rcpts = [
            b"RCPT TO:<%s>\r\n" % address(user).encode()
            for user in range(job.first_user + job.users)
        ]

    def arrive(self, line: Line) -> Talk[None]:
        """Connect, to stay."""
        line.connect()
        self.pipelining = yield from smtp_talk.greet(line, tls=self.job.tls)

    def send_in_turn(self, line: Line) -> Talk[None]:
        """Send one message after the other on a connection that is there."""
        for index in self.indexes:
            began = time.monotonic()
            yield from self._send_one(line, index)
            self.seconds.append(time.monotonic() - began)

    def send_and_leave(self, line: Line) -> Talk[None]:
        """Send each message on a connection of its own."""
        for index in self.indexes:
            began = time.monotonic()
            yield from self.arrive(line)
            yield from self._send_one(line, index)
            self.seconds.append(time.monotonic() - began)
            yield from smtp_talk.quit_session(line)

    def _send_one(self, line: Line, index: int) -> Talk[None]:
        rcpts = [self._rcpts[user] for user in self.job.recipients_of(index)]
        group = [self._mail, *rcpts, b"DATA\r\n"]
        codes = yield from smtp_talk.open_transaction(line, group, self.pipelining)
        if codes[-1] != b"354":
            raise Unexpected(f"No message was let in: {codes}")
        if any(code != b"250" for code in codes[:-1]):
            raise Unexpected(f"A recipient was refused: {codes}")
        content = wire_content(self.job.token(index))
        if (yield from smtp_talk.send_content(line, content)) != b"250":
            self.refused.append(index)


def run(job: Job) -> Outcome:
    """
    Send all messages of a job.

    Raises:
        Unexpected: The server hung up, fell silent or refused an envelope.
        OSError: It could not be reached.
    """
    load, exchange = Load(job), Exchange(job.port)
    lines = [Line(exchange) for _ in range(min(job.connections, job.messages))]

    def all_lines(talk: Callable[[Line], Talk[None]]) -> None:
        exchange.converse((line, talk(line)) for line in lines)

    if job.kept:
        all_lines(load.arrive)
    began, cpu = time.monotonic(), time.process_time()
    all_lines(load.send_in_turn if job.kept else load.send_and_leave)
    ended, cpu = time.monotonic(), time.process_time() - cpu
    if job.kept:
        all_lines(smtp_talk.quit_session)
    return Outcome(
        began=began,
        ended=ended,
        cpu_seconds=cpu,
        refused=load.refused,
        median=quantile(load.seconds, 0.5),
        p99=quantile(load.seconds, 0.99),
    )


def main() -> None:
    """Run the job of the command line."""
    try:
        outcome = run(Job(**json.loads(sys.argv[1])))
    except (BenchError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
