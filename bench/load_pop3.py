"""
Collect mail from a server as fast as it gives it: the load of bench/pop3_out.py.

A process of its own, so that its cost is not the server's and can be shown:
`python -m bench.load_pop3 JOB` prints an outcome; both are JSON. What a mailbox
gives the first time is compared with what was sent after the clock stopped,
what it gives again with the first time at once.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from bench import messages, pop3_talk
from bench.errors import BenchError, Damaged, Unexpected
from bench.figures import quantile
from bench.wire import Exchange, Line, Talk


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to do."""

    port: int
    kind: str
    """session: login, STAT, UIDL, RETR of all, QUIT; login: login, STAT, QUIT;
    retr: RETR of all, one by one; group: RETR of all, asked for at once;
    open: from USER to the answer of STAT."""
    users: list[int]
    """One client for each, at the same time."""
    passwords: list[str]
    messages: int
    """In each mailbox."""
    times: int
    """Of all clients together for session and login; of each for the others."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of it."""

    seconds: float
    """While the clock ran: neither logins before retr and group, nor what open does around."""
    cpu_seconds: float
    """What the load itself used meanwhile."""
    operations: int
    """Sessions, logins, messages or openings."""
    median: float
    """Seconds for one operation; 0 where they are asked for at once."""
    p99: float


class Client:
    """One user who collects mail."""

    def __init__(self, job: Job, number: int, line: Line, turns: Iterator[int]) -> None:
        self.line = line
        self.seconds: list[float] = []
        self._job = job
        self._login = (messages.address(job.users[number]), job.passwords[number])
        self._turns = turns
        self._octets = 0
        self._first_time: dict[int, bytes] = {}

    def arrive(self) -> Talk[None]:
        """Connect, log in and ask what is there."""
        yield from pop3_talk.arrive(self.line)
        yield from pop3_talk.log_in(self.line, *self._login)
        yield from self._stat()

    def retr_one_by_one(self) -> Talk[None]:
        """Fetch every message, each after the one before."""
        for number in range(1, self._job.messages + 1):
            began = time.monotonic()
            yield from self._retr(number)
            self.seconds.append(time.monotonic() - began)

    def retr_at_once(self) -> Talk[None]:
        """Ask for every message, then hear them all."""
        enough = pop3_talk.answers(self._job.messages)
        commands = pop3_talk.retr(1, self._job.messages)
        self._compare(0, (yield from pop3_talk.ask(self.line, commands, enough)))

    def sessions(self) -> Talk[None]:
        """Collect all mail in a session of its own, again and again."""
        for _ in self._turns:
            began = time.monotonic()
            yield from self.arrive()
            yield from self._uidl()
            for number in range(1, self._job.messages + 1):
                yield from self._retr(number)
            yield from pop3_talk.leave(self.line)
            self.seconds.append(time.monotonic() - began)

    def logins(self) -> Talk[None]:
        """Look whether there is mail, again and again."""
        for _ in self._turns:
            began = time.monotonic()
            yield from self.arrive()
            yield from pop3_talk.leave(self.line)
            self.seconds.append(time.monotonic() - began)

    def connect(self) -> Talk[None]:
        """Connect only."""
        yield from pop3_talk.arrive(self.line)

    def open(self) -> Talk[None]:
        """Log in and ask what is there."""
        began = time.monotonic()
        yield from pop3_talk.log_in(self.line, *self._login)
        yield from self._stat()
        self.seconds.append(time.monotonic() - began)

    def leave(self) -> Talk[None]:
        """Say QUIT."""
        yield from pop3_talk.leave(self.line)

    def check(self) -> None:
        """
        Compare what came, if anything, with what was sent.

        Raises:
            Damaged: A message or a size is wrong.
        """
        if not self._first_time:
            return
        heard = b"".join(self._first_time.values())
        contents = pop3_talk.contents(heard)
        tokens = {messages.check(content) for content in contents}
        if len(tokens) != self._job.messages or len(contents) != self._job.messages:
            raise Damaged(f"{len(tokens)} messages of {self._job.messages} came")
        if (octets := sum(map(len, contents))) != self._octets:
            raise Damaged(f"STAT told {self._octets} octets, {octets} came")

    def _stat(self) -> Talk[None]:
        number, self._octets = yield from pop3_talk.count(self.line)
        if number != self._job.messages:
            raise Unexpected(f"STAT tells {number} messages, not {self._job.messages}")

    def _uidl(self) -> Talk[None]:
        heard = yield from pop3_talk.ask(self.line, b"UIDL\r\n", pop3_talk.lines_came)
        if heard.count(b"\r\n") != self._job.messages + 2:
            raise Unexpected(f"UIDL answers {bytes(heard)!r}")

    def _retr(self, number: int) -> Talk[None]:
        command = b"RETR %d\r\n" % number
        self._compare(number, (yield from pop3_talk.ask(self.line, command, pop3_talk.lines_came)))

    def _compare(self, number: int, heard: bytearray) -> None:
        if number not in self._first_time:
            self._first_time[number] = bytes(heard)
        elif heard != self._first_time[number]:
            raise Damaged(f"Message {number} is not what it was before")


class Clock:
    """Adds up the time, and the CPU time of this process, of what is held under it."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0

    def __enter__(self) -> None:
        """Begin."""
        self._began, self._cpu = time.monotonic(), time.process_time()

    def __exit__(self, *_error: object) -> None:
        """End."""
        self.seconds += time.monotonic() - self._began
        self.cpu_seconds += time.process_time() - self._cpu


@dataclass(frozen=True)
class Steps:
    """A kind of job in which the clients wait for each other between its parts."""

    before: Callable[[Client], Talk[None]]
    clocked: Callable[[Client], Talk[None]]


_STEPS = {
    "retr": Steps(Client.arrive, Client.retr_one_by_one),
    "group": Steps(Client.arrive, Client.retr_at_once),
    "open": Steps(Client.connect, Client.open),
}
_SESSIONS = {"session": Client.sessions, "login": Client.logins}


def run(job: Job) -> Outcome:
    """
    Do a job.

    Raises:
        Damaged: Something else came than was sent.
        Unexpected: The server hung up, fell silent or refused something.
        OSError: It could not be reached.
    """
    exchange, clock = Exchange(job.port), Clock()
    turns = iter(range(job.times))
    clients = [Client(job, n, Line(exchange), turns) for n in range(len(job.users))]

    def all_clients(talk: Callable[[Client], Talk[None]]) -> None:
        exchange.converse((client.line, talk(client)) for client in clients)

    if job.kind in _SESSIONS:
        with clock:
            all_clients(_SESSIONS[job.kind])
    else:
        steps = _STEPS[job.kind]
        for _ in turns:
            all_clients(steps.before)
            with clock:
                all_clients(steps.clocked)
            all_clients(Client.leave)
    for client in clients:
        client.check()
    seconds = [s for client in clients for s in client.seconds]
    return Outcome(
        seconds=clock.seconds,
        cpu_seconds=clock.cpu_seconds,
        operations=_operations(job),
        median=quantile(seconds, 0.5),
        p99=quantile(seconds, 0.99),
    )


def _operations(job: Job) -> int:
    if job.kind in _SESSIONS:
        return job.times
    return job.times * len(job.users) * (1 if job.kind == "open" else job.messages)


def main() -> None:
    """Do the job of the command line."""
    try:
        outcome = run(Job(**json.loads(sys.argv[1])))
    except (BenchError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
