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
from bench.figures import quantile
from bench.wire import Exchange, Line, Talk, Unexpected


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
    """Of all clients together for session, login and open; of each for retr and group."""
    check: bool = True
    """Whether the messages are those of `messages.py`, to be compared."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of it."""

    seconds: float
    """While the clock ran; logins before retr and group do not count."""
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
        """Connect and log in."""
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

    def openings(self) -> Talk[None]:
        """Open the maildrop again and again."""
        for _ in self._turns:
            yield from pop3_talk.arrive(self.line)
            began = time.monotonic()
            yield from pop3_talk.log_in(self.line, *self._login)
            yield from self._stat()
            self.seconds.append(time.monotonic() - began)
            yield from pop3_talk.leave(self.line)

    def leave(self) -> Talk[None]:
        """Say QUIT."""
        yield from pop3_talk.leave(self.line)

    def check(self) -> None:
        """
        Compare what came with what was sent.

        Raises:
            messages.Damaged: A message or a size is wrong.
        """
        heard = b"".join(self._first_time.values())
        contents = pop3_talk.contents(heard)
        tokens = {messages.check(content) for content in contents}
        if len(tokens) != self._job.messages or len(contents) != self._job.messages:
            raise messages.Damaged(f"{len(tokens)} messages of {self._job.messages} came")
        if (octets := sum(map(len, contents))) != self._octets:
            raise messages.Damaged(f"STAT told {self._octets} octets, {octets} came")

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
            raise messages.Damaged(f"Message {number} is not what it was before")


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


def run(job: Job) -> Outcome:
    """
    Do a job.

    Raises:
        messages.Damaged: Something else came than was sent.
        Unexpected: The server hung up, fell silent or refused something.
        OSError: It could not be reached.
    """
    exchange, clock = Exchange(job.port), Clock()
    turns = iter(range(job.times))
    clients = [Client(job, n, Line(exchange), turns) for n in range(len(job.users))]

    def all_clients(talk: Callable[[Client], Talk[None]]) -> None:
        exchange.converse((client.line, talk(client)) for client in clients)

    if job.kind in _IN_A_SESSION:
        for _ in turns:
            all_clients(Client.arrive)
            with clock:
                all_clients(_IN_A_SESSION[job.kind])
            all_clients(Client.leave)
        operations = job.times * job.messages * len(clients)
    else:
        with clock:
            all_clients(_OF_SESSIONS[job.kind])
        operations = job.times
    if job.kind in ("session", *_IN_A_SESSION):
        for client in clients:
            client.check()
    seconds = [s for client in clients for s in client.seconds]
    return Outcome(
        seconds=clock.seconds,
        cpu_seconds=clock.cpu_seconds,
        operations=operations,
        median=quantile(seconds, 0.5),
        p99=quantile(seconds, 0.99),
    )


_IN_A_SESSION = {"retr": Client.retr_one_by_one, "group": Client.retr_at_once}
_OF_SESSIONS = {"session": Client.sessions, "login": Client.logins, "open": Client.openings}


def main() -> None:
    """Do the job of the command line."""
    outcome = run(Job(**json.loads(sys.argv[1])))
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
