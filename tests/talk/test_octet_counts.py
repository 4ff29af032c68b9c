"""What SMTP takes in, POP3 tells with the number of octets that it sends; RFC 1939 section 11."""

from pathlib import Path
from tempfile import gettempdir
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailsvc.config.settings import Kind, LineEnds, SmtpSettings, SpoolSettings
from mailsvc.delivery.binary import BinaryConversion, NotConvertible
from mailsvc.delivery.intake import Intake
from mailsvc.delivery.submission import SubmissionRules
from mailsvc.filters.chain import FilterChain
from mailsvc.model.envelope import Envelope, Recipient
from mailsvc.spool import SpoolRoom
from mailsvc.store.database import Database
from mailsvc.store.deliveries import INLINE
from mailsvc.store.directory import Directory
from tests.support.mail_store import content
from tests.support.pop3_store import SqliteMaildrops
from tests.support.pop3_talk import PostOffice
from tests.support.smtp_talk import Talk

BINARY = b"Content-Transfer-Encoding: binary\r\n\r\n"
CONTENTS = st.binary(max_size=20) | st.lists(
    st.sampled_from(
        [b"\r\n", b"\r", b"\n", b"\0", b".", b"..", b"a: b", b"\r\n\r\n", b"\xff", BINARY]
    ),
    max_size=12,
).map(b"".join)
REPAIRS = SmtpSettings(submission_line_ends=LineEnds.REPAIR)


class House:
    """A service on SQLite without threads: alice's mail comes in and goes out."""

    def __init__(self, folder: Path) -> None:
        store = SqliteMaildrops(folder, single=True)
        database = cast("Database", store.database)
        self.alice = store.make_account(1)
        self.clock = Clock()
        room = SpoolRoom(Path(gettempdir()), SpoolSettings(spare_disk=0))
        self.intake = Intake(
            database,
            FilterChain({}, self.clock),
            "mail.test.com",
            SubmissionRules(Directory(database, self.clock)),
            BinaryConversion(room, self.clock),
        )
        self.office = PostOffice(maildrops=store.maildrops)
        self.office.accounts.by_number[self.alice.id] = self.alice
        self.office.checker.users[b"alice"] = self.alice.id

    def accepts(self, envelope: Envelope, octets: bytes) -> bool:
        """Take a message for alice, if it can be taken."""
        mail = envelope._replace(
            login=None, sender=None, recipients=(Recipient(self.alice.address, (self.alice,)),)
        )
        answers: list[object] = []
        work = Deferred.fromCoroutine(self.intake.accept(mail, content(octets)))
        _ = work.addCallbacks(answers.append, lambda failure: failure.trap(NotConvertible))
        for _ in range(20):
            self.clock.advance(0)
        return bool(answers)

    def collect(self) -> tuple[bytes, bytes, int]:
        """Collect alice's only message; gives what STAT and LIST said, and its octets."""
        talk = self.office.log_in()
        stat = talk.says(b"STAT").next_line()
        listing = talk.says(b"LIST 1").next_line()
        told = talk.says(b"RETR 1").next_line()
        text = talk.rest_of_text()
        whole = talk.asks(b"TOP 1 1000000")
        talk.says(b"DELE 1", b"QUIT").hears(b"+OK", b"+OK").is_hung_up_on()
        assert told == b"+OK %d octets" % len(text)
        assert whole == text
        return stat, listing, len(text)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Open it once: the examples are many."""
    return House(tmp_path_factory.mktemp("house"))


def taken_by_smtp(way: str, octets: bytes) -> tuple[Envelope, bytes] | None:
    """Send a message by SMTP; gives what reaches the intake, if anything does."""
    repair, _, verb = way.rpartition(" ")
    talk = Talk(Kind.SUBMISSION, settings=REPAIRS).logged_in() if repair else Talk().greeted()
    body = b" BODY=BINARYMIME" if verb == "BINARYMIME" else b""
    talk.says(b"MAIL FROM:<alice@test.com>" + body, b"RCPT TO:<bob@test.com>")
    if verb == "DATA":
        stuffed = (b"\r\n" + octets).replace(b"\r\n.", b"\r\n..")[2:]
        ended = stuffed if stuffed.endswith(b"\r\n") or not stuffed else stuffed + b"\r\n"
        talk.says(b"DATA").sends(ended + b".\r\n")
    else:
        talk.sends(b"BDAT %d\r\n" % len(octets) + octets + b"BDAT 0 LAST\r\n")
    return talk.intake.taken[0] if talk.intake.taken else None


@given(st.sampled_from(["DATA", "BDAT", "BINARYMIME", "repaired DATA", "repaired BDAT"]), CONTENTS)
@example("BINARYMIME", b"")
@example("BINARYMIME", b"Subject: no line end")
@example("BINARYMIME", BINARY + b"clean, without line end")
@example("BINARYMIME", BINARY + b"\0" * 2 * INLINE)
@example("BDAT", b"Subject: x\r\n\r\n" + b"long " * INLINE)
@example("DATA", b"")
def test_a_message_has_the_size_that_is_told(house: House, way: str, octets: bytes) -> None:
    """By STAT, LIST and RETR, whatever was sent and however, in the database and on the wire."""
    taken = taken_by_smtp(way, octets)
    if taken is None or not house.accepts(*taken):
        return

    stat, listing, size = house.collect()

    assert stat == b"+OK 1 %d" % size
    assert listing == b"+OK 1 %d" % size
