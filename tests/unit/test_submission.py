"""What a message of one of our users must say of itself; RFC 6409 section 8."""

import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.utils import parseaddr

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from mailsvc.config.settings import ForeignFrom
from mailsvc.delivery.submission import BadHeader, ForeignAuthor, SubmissionRules
from mailsvc.errors import MailError
from mailsvc.model.account import Account
from mailsvc.model.address import parse_address
from mailsvc.model.envelope import Body, Client, Envelope, Recipient
from mailsvc.model.headers import LARGEST_HEADER, Headers
from tests.support.smtp_talk import MemoryDirectory, make_account

NOON = datetime(2026, 5, 4, 12, 0, 7, tzinfo=UTC)
COMPLETE = b"Date: x\r\nMessage-ID: <x@y>\r\n"
ALICE = make_account("alice", 1)


class Desk:
    """Rules over the accounts of test.com: alice, who is postmaster, and bob."""

    def __init__(self, foreign_from: ForeignFrom = ForeignFrom.REFUSE) -> None:
        self.directory = MemoryDirectory()
        self.rules = SubmissionRules(self.directory, foreign_from)

    def complete(self, octets: bytes, login: Account | None = ALICE) -> bytes:
        """Look at a message of alice or of another server; gives the added fields."""
        envelope = Envelope(
            client=Client("192.0.2.1", 4711),
            helo="client.example.org",
            protocol="ESMTPA",
            login=login,
            sender=ALICE.address,
            recipients=(Recipient(ALICE.address, (ALICE,)),),
            body=Body.EIGHTBIT,
            received=NOON,
        )
        answers: list[bytes] = []
        failures: list[BaseException] = []
        work = Deferred.fromCoroutine(self.rules.complete(envelope, Headers(octets)))
        _ = work.addCallbacks(answers.append, lambda failure: failures.append(failure.value))
        for failure in failures:
            raise failure
        return answers[0]


class TestAuthor:
    """Nobody writes in the name of another."""

    @pytest.mark.parametrize(
        "fields",
        [
            b"From: alice@test.com\r\n",
            b"From: <ALICE@Test.COM>\r\n",
            b'From: "Example, Alice"\r\n <alice@test.com>\r\n',
            b"from : Alice (at home) <alice@test.com>, postmaster@test.com\r\n",
            b"From: A <alice@test.com>\r\nSender: postmaster@test.com\r\n",
            b"From: \xff\xfe <alice@test.com>\r\n",
            b"From: alice@test.com\r\n\r\nFrom: bob@test.com\r\n",
        ],
    )
    def test_an_own_address_is_fine(self, fields: bytes) -> None:
        """With any name, and under every address whose mail the user gets."""
        assert Desk().complete(COMPLETE + fields) == b""

    @pytest.mark.parametrize(
        "fields",
        [
            b"From: bob@test.com\r\n",
            b"From: alice@example.org\r\n",
            b"From: postmaster@example.org\r\n",
            b"From: alice@test.com, bob@test.com\r\n",
            b"From: alice@test.com <bob@test.com>\r\n",
            b'From: "alice@test.com" <bob@test.com>\r\n',
            b"From: alice@test.com\r\nSender: bob@test.com\r\n",
        ],
    )
    def test_a_foreign_address_is_refused(self, fields: bytes) -> None:
        """The text names the address and the rule."""
        with pytest.raises(MailError) as told:
            Desk().complete(COMPLETE + fields)

        assert told.value.status.permanent
        if isinstance(told.value, ForeignAuthor):
            assert str(told.value.status) == "5.7.1"
            assert "your own addresses only" in str(told.value)

    def test_it_can_be_allowed(self) -> None:
        """``submission_from: allow`` is for those who send for others."""
        assert Desk(ForeignFrom.ALLOW).complete(COMPLETE + b"From: bob@test.com\r\n") == b""

    @pytest.mark.parametrize(
        ("octets", "reason"),
        [
            (b"From: alice@test.com\r\nFrom: bob@test.com\r\n", "more than one From:"),
            (b"From: alice@test.com\r\nnot a field\r\nFrom: bob@test.com\r\n", "no header field"),
            (b"not a field\r\nFrom: bob@test.com\r\n", "no header field"),
            (b"From: alice@test.com\r\nFrom\r\n : bob@test.com\r\n", "no header field"),
            (b"From\xc2\xa0: bob@test.com\r\n", "no header field"),
            (b"From: Alice\r\n", "From: cannot be read"),
            (b"From:\r\n", "From: cannot be read"),
            (b"From: us: alice@test.com;\r\n", "groups"),
            (b"From: alice@test.com\r\nSender: ?\r\n", "Sender: cannot be read"),
            (b"Subject: " + b"x" * LARGEST_HEADER + b"\r\nFrom: bob@test.com\r\n", "too large"),
        ],
    )
    @pytest.mark.parametrize("foreign", list(ForeignFrom))
    def test_no_reader_shall_see_another_author_than_we(
        self, octets: bytes, reason: str, foreign: ForeignFrom
    ) -> None:
        """What can be read in two ways is refused."""
        with pytest.raises(BadHeader, match=reason) as told:
            Desk(foreign).complete(octets + b"\r\n")
        assert str(told.value.status) == "5.6.0"

    def test_no_author_hides_right_behind_what_we_look_at(self) -> None:
        """Not even when a field ends where we stop."""
        own = b"From: alice@test.com\r\n"
        filling = b"X: " + b"x" * (LARGEST_HEADER - len(own) - 5) + b"\r\n"
        octets = own + filling + b"From: bob@test.com\r\n\r\n"

        with pytest.raises(BadHeader, match="too large"):
            Desk().complete(octets[:LARGEST_HEADER])

    @pytest.mark.parametrize("octets", [b"", b"From: x\r\nFrom: y\r\n", b"junk\r\nFrom: z"])
    def test_mail_from_outside_is_not_looked_at(self, octets: bytes) -> None:
        """It is another server's, and stays as it is."""
        assert Desk().complete(octets, login=None) == b""

    @given(st.binary(max_size=300))
    def test_no_octets_break_it(self, octets: bytes) -> None:
        """It answers or refuses."""
        for header in (octets, b"From:" + octets):
            try:
                Desk().complete(header)
            except MailError as error:
                assert error.status.permanent  # noqa: PT017 - it may raise or not


class TestMissingFields:
    """RFC 5322 section 3.6 wants three fields, and we add what is missing."""

    def test_they_are_added(self) -> None:
        """The user's address, the time, and an id that nobody has."""
        added = Desk().complete(b"Subject: hi\r\n\r\n"), Desk().complete(b"\r\n")

        assert re.fullmatch(
            rb"From: alice@test\.com\r\n"
            rb"Date: Mon, 04 May 2026 12:00:07 \+0000\r\n"
            rb"Message-ID: <[0-9a-f]{32}@test\.com>\r\n",
            added[0],
        )
        assert added[0] != added[1]

    def test_what_is_there_is_not_added(self) -> None:
        """Each one by itself."""
        own = b"From: alice@test.com\r\n"
        assert Desk().complete(COMPLETE) == own
        assert Desk().complete(own + b"Date: x\r\n").startswith(b"Message-ID: <")
        assert Desk().complete(own + b"Message-ID: x\r\n").startswith(b"Date: Mon")

    @pytest.mark.parametrize(
        "name",
        [
            "Alice",
            "Example, Alice",
            'A "B" \\',
            "Grüße aus Köln " * 15 + "!",
            "用户",
            "x " * 120 + "x",
        ],
    )
    def test_any_name_can_be_read_back(self, name: str) -> None:
        """By a parser that we did not write."""
        added = Desk().complete(COMPLETE, replace(ALICE, display_name=name))

        read, address = parseaddr(message_from_bytes(added)["From"])
        assert (str(make_header(decode_header(read))), address) == (name, "alice@test.com")
        assert added.isascii()
        assert max(map(len, added.split(b"\r\n"))) < 998

    def test_a_name_beyond_ascii_is_written_as_it_is(self) -> None:
        """RFC 6532: no encoding hides an address."""
        login = replace(ALICE, address=parse_address("用户@test.com", utf8=True))
        assert Desk().complete(COMPLETE, login) == "From: 用户@test.com\r\n".encode()


def test_it_costs_next_to_nothing() -> None:
    """Some microseconds for each message; a hundred times more fails here."""
    desk = Desk()
    octets = (
        b"Received: from a by b\r\n" * 5 + COMPLETE + b"To: bob@test.com\r\nSubject: hello\r\n"
        b"From: Alice Example <alice@test.com>\r\n\r\n" + b"x" * 2000
    )
    began = time.process_time()
    for _ in range(500):
        desk.complete(octets)
    assert time.process_time() - began < 0.75
