"""The process that commits deliveries, and our end of it."""

import pickle
from io import BytesIO
from typing import Any

import pytest
from sqlalchemy import Connection

from mailsvc.errors import NotFound, Refused, StorageFailed
from mailsvc.model.status import Status
from mailsvc.store.portable import CALLS, Call, portable
from mailsvc.store.writer_main import serve
from mailsvc.store.writer_process import HEAD, Answers, Batch, Opening, frame


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

    @pytest.mark.parametrize("cut", [1, HEAD - 1, HEAD, HEAD + 1, -1])
    def test_half_a_word_is_the_end(self, database_url: str, cut: int) -> None:
        """A daemon that was killed in the midst of a word is not worth a traceback."""
        _, *answers = served(database_url, asked(seven) + asked(seven)[:cut])

        assert answers == [Answers([7])]
