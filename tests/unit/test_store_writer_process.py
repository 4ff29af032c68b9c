"""The process that commits deliveries, and our end of it."""

import errno
import pickle
from io import BytesIO
from typing import Any

import pytest
from sqlalchemy import Connection
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mailsvc.errors import NotFound, Refused, StorageFailed
from mailsvc.model.status import Status
from mailsvc.store import writer_main
from mailsvc.store.portable import CALLS, Call, portable
from mailsvc.store.writer_main import serve
from mailsvc.store.writer_process import (
    ANSWERS,
    HEAD,
    REQUESTS,
    Answers,
    Batch,
    Opening,
    WriterProcess,
    frame,
)


@pytest.fixture
def kind() -> str:
    """Use the only kind of database that has such a process."""
    return "sqlite"


def served(url: str, requests: bytes) -> list[Answers]:
    """Let the process work, and give all that it answers; the first is its greeting."""
    answers = BytesIO()
    serve(Opening(url, 0), BytesIO(requests), answers)
    octets, found = answers.getvalue(), []
    while octets:
        end = HEAD + int.from_bytes(octets[:HEAD], "big")
        found.append(Answers._make(pickle.loads(octets[HEAD:end])))  # noqa: S301 - it is ours
        octets = octets[end:]
    return found


def asked(*queries: Any) -> bytes:
    """Make the frame of a batch with some queries."""
    jobs = tuple((0, Call(query, (), {})) for query in queries)
    return frame(Batch((CALLS.recipe,), jobs))


@portable
def seven(_conn: Connection) -> int:
    """Answer."""
    return 7


@portable
def refuse(_conn: Connection) -> None:
    """Raise what an administrator is told."""
    raise NotFound("there is no such thing")


@portable
def refuse_oddly(_conn: Connection) -> None:
    """Raise an error that cannot be made again from what it says."""
    raise Refused(Status(5, 7, 1), "not with us")


class Secretive(Exception):
    """Cannot be pickled."""

    def __reduce__(self) -> str:
        """Refuse."""
        raise TypeError("this is nobody's business")


@portable
def keep_secret(_conn: Connection) -> None:
    """Raise an error that cannot be sent."""
    raise Secretive


class TestProcess:
    """What it answers."""

    def test_answers_and_errors_arrive(self, database_url: str) -> None:
        """Whoever asks cannot tell where it was done."""
        greeting, first, second = served(database_url, asked(seven, seven) + asked(refuse))

        assert greeting == Answers([])
        assert first == Answers([7, 7])
        assert isinstance(second.answers[0], NotFound)
        assert str(second.answers[0]) == "there is no such thing"

    @pytest.mark.parametrize("query", [keep_secret, refuse_oddly])
    def test_an_error_that_cannot_be_sent_becomes_a_fault_of_ours(
        self, database_url: str, query: Any
    ) -> None:
        """It ends neither the process nor our end of it, where everybody would wait for ever."""
        _, first, second = served(database_url, asked(seven, query, seven) + asked(seven))

        assert first.answers[::2] == [7, 7]
        assert isinstance(first.answers[1], StorageFailed)
        assert second == Answers([7])

    def test_a_database_that_cannot_be_opened_is_told_at_once(self, database_url: str) -> None:
        """Nobody gives mail to a process that can do nothing with it."""
        (greeting,) = served(database_url + "/nowhere", asked(seven))

        ((what, error),) = greeting.said
        assert what == "the database cannot be opened"
        assert "unable to open" in error

    def test_a_version_that_was_just_installed_waits_for_the_daemon(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """New code does not write for an old daemon; the thread does, until it is started anew."""
        monkeypatch.setattr(writer_main, "__version__", "99.0")

        (greeting,) = served(database_url, asked(seven))

        assert greeting.said == (
            ("the writer's process cannot work", "mailsvc 99.0 is here: start it anew"),
        )

    @pytest.mark.parametrize("cut", [1, HEAD - 1, HEAD, HEAD + 1, -1])
    def test_half_a_word_is_the_end(self, database_url: str, cut: int) -> None:
        """A daemon that was killed in the midst of a word is not worth a traceback."""
        _, *answers = served(database_url, asked(seven) + asked(seven)[:cut])

        assert answers == [Answers([7])]


class Pipe:
    """
    Our end of a pipe.

    Args:
        room: Octets that it takes at once.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.sent = b""

    def fileno(self) -> int:
        """Give a number that no file has."""
        return 1_000_000

    def writeSomeData(self, octets: bytes) -> int:
        """Take what fits."""
        taken = octets[: self.room]
        self.sent += taken
        self.room -= len(taken)
        return len(taken)

    def write(self, octets: bytes) -> None:
        """Take the rest, later."""
        self.sent += octets


class Child:
    """A process as Twisted shows it."""

    def __init__(self, protocol: ProcessProtocol, room: int) -> None:
        self.protocol = protocol
        self.pipes = {0: Pipe(0), REQUESTS: Pipe(room)}
        self.signals: list[str] = []

    def closeChildFD(self, number: int) -> None:
        """Close a pipe."""
        self.pipes.pop(number, None)
        self.protocol.childConnectionLost(number)

    def signalProcess(self, name: str) -> None:
        """Take a signal note."""
        self.signals.append(name)

    def says(self, *answers: Answers) -> None:
        """Answer, an octet at a time."""
        for octet in b"".join(map(frame, answers)):
            self.protocol.childDataReceived(ANSWERS, bytes([octet]))

    def ends(self) -> None:
        """End by itself."""
        self.protocol.processEnded(Failure(ProcessTerminated(signal=9)))


class Launcher(Clock):
    """A reactor that starts processes."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[Child] = []
        self.broken: OSError | None = None
        self.room = 1_000_000

    def spawnProcess(self, protocol: ProcessProtocol, *_: object, **__: object) -> None:
        """Start one, or fail."""
        if self.broken is not None:
            raise self.broken
        child = Child(protocol, self.room)
        self.started.append(child)
        protocol.makeConnection(child)


BATCH = Batch((CALLS.recipe,), ((0, Call(seven, (), {})),))


@pytest.fixture
def launcher() -> Launcher:
    """Be the reactor."""
    return Launcher()


@pytest.fixture
def process(launcher: Launcher) -> WriterProcess:
    """Start a process."""
    process = WriterProcess(launcher, "sqlite:///mail.db", lambda: 0)
    process.start()
    return process


class TestOurEnd:
    """What becomes of batches, whatever the process does."""

    def test_a_batch_gets_its_answers(self, launcher: Launcher, process: WriterProcess) -> None:
        """However little the pipes take or give at once."""
        (child,) = launcher.started
        assert not process.ready
        child.says(Answers([]))
        assert process.ready
        child.pipes[REQUESTS].room = 5

        for number in range(3):
            outcome = process.write(BATCH)
            child.says(Answers([number]))
            assert outcome.result == [number]

        assert child.pipes[REQUESTS].sent == frame(Opening("sqlite:///mail.db", 0)) + 3 * frame(
            BATCH
        )

    def test_a_process_without_a_database_gets_no_batch(
        self, launcher: Launcher, process: WriterProcess
    ) -> None:
        """It is not ready, and the next one is tried after a while."""
        launcher.started[0].says(Answers([], (("the database cannot be opened", "why"),)))
        assert not process.ready
        launcher.started[0].ends()

        launcher.advance(1)

        assert len(launcher.started) == 2

    def test_a_death_is_told_to_whoever_waits(
        self, launcher: Launcher, process: WriterProcess
    ) -> None:
        """Also when the pipe was closed before the batch could be sent."""
        for close in (False, True):
            child = launcher.started[-1]
            child.says(Answers([]))
            if close:
                child.pipes.clear()
            outcome = process.write(BATCH)
            child.ends()
            assert is_lost(outcome)
            launcher.advance(60)

    def test_a_pipe_that_is_closed_gets_no_batch(
        self, launcher: Launcher, process: WriterProcess
    ) -> None:
        """Between the end of the pipes and the end of the process the thread writes."""
        (child,) = launcher.started
        child.says(Answers([]))

        child.closeChildFD(REQUESTS)

        assert not process.ready

    def test_nonsense_ends_the_process(self, launcher: Launcher, process: WriterProcess) -> None:
        """Its answers are worth nothing; whoever waits is answered by its end."""
        (child,) = launcher.started
        child.says(Answers([]))
        outcome = process.write(BATCH)

        child.protocol.childDataReceived(ANSWERS, (3).to_bytes(HEAD, "big") + b"???")

        assert child.signals == ["KILL"]
        child.ends()
        assert is_lost(outcome)

    def test_silence_ends_the_process(self, launcher: Launcher, process: WriterProcess) -> None:
        """One that stands still for half a minute holds everybody up; idle ones may be silent."""
        (child,) = launcher.started
        child.says(Answers([]))
        launcher.pump([15] * 10)
        outcome = process.write(BATCH)
        launcher.pump([14])
        child.says(Answers([7]))
        assert outcome.result == [7]
        launcher.pump([15] * 10)
        assert not child.signals

        outcome = process.write(BATCH)
        launcher.pump([15] * 2)

        assert child.signals == ["KILL"]
        child.ends()
        assert is_lost(outcome)


class TestLife:
    """How it is started, and ended."""

    def test_it_is_tried_again_when_it_cannot_be_started(self, launcher: Launcher) -> None:
        """Without memory or descriptors for it the service works on, and recovers by itself."""
        launcher.broken = OSError(errno.EMFILE, "Too many open files")
        process = WriterProcess(launcher, "sqlite:///mail.db", lambda: 0)
        process.start()
        assert not process.ready
        launcher.advance(1)
        launcher.broken = None
        assert not launcher.started

        launcher.advance(2)

        launcher.started[0].says(Answers([]))
        assert process.ready

    def test_it_can_be_stopped_when_it_could_not_be_started(self, launcher: Launcher) -> None:
        """The service ends in order all the same."""
        launcher.broken = OSError(errno.EMFILE, "Too many open files")
        process = WriterProcess(launcher, "sqlite:///mail.db", lambda: 0)
        process.start()

        stopped = Deferred.fromCoroutine(process.stop())

        assert stopped.called
        assert not launcher.getDelayedCalls()

    def test_one_that_never_works_is_tried_ever_more_seldom(
        self, launcher: Launcher, process: WriterProcess
    ) -> None:
        """Starting costs half a second of work; an answer is what earns trust."""
        waits = []
        for _ in range(8):
            launcher.started[-1].says(Answers([]))
            launcher.started[-1].ends()
            waits.append(waited(launcher))
        assert waits == [1, 2, 4, 8, 16, 32, 60, 60]

        launcher.started[-1].says(Answers([]))
        _ = process.write(BATCH)
        launcher.started[-1].says(Answers([7]))
        launcher.started[-1].ends()

        assert waited(launcher) == 1

    def test_the_end_waits_for_what_is_under_way(
        self, launcher: Launcher, process: WriterProcess
    ) -> None:
        """What was asked is answered, and nothing is left behind."""
        (child,) = launcher.started
        child.says(Answers([]))
        outcome = process.write(BATCH)

        stopped = Deferred.fromCoroutine(process.stop())

        assert not process.ready
        child.says(Answers([7]))
        assert outcome.result == [7]
        assert not stopped.called
        child.ends()
        assert stopped.called
        assert not launcher.getDelayedCalls()

    def test_the_end_waits_ten_seconds(self, launcher: Launcher, process: WriterProcess) -> None:
        """A process that does not want to end is ended, also before it was ready."""
        (child,) = launcher.started
        stopped = Deferred.fromCoroutine(process.stop())

        launcher.advance(10)

        assert child.signals == ["KILL"]
        child.ends()
        assert stopped.called
        assert not launcher.getDelayedCalls()


def is_lost(outcome: "Deferred[list[Any]]") -> bool:
    """Whether nobody knows what became of a batch."""
    errors: list[Failure] = []
    _ = outcome.addErrback(errors.append)
    return bool(errors) and errors[0].check(StorageFailed) is not None


def waited(launcher: Launcher) -> int:
    """Tell after how many seconds the next process is started."""
    before = len(launcher.started)
    began = launcher.seconds()
    while len(launcher.started) == before:
        launcher.advance(1)
    return round(launcher.seconds() - began)
