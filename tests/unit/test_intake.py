"""From the end of DATA to the commit."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from email.utils import parsedate_to_datetime
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir
from weakref import ReferenceType, ref

import pytest
from sqlalchemy import select
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailsvc.config.settings import SpoolSettings
from mailsvc.delivery.binary import BinaryConversion, NotConvertible
from mailsvc.delivery.intake import Intake
from mailsvc.delivery.submission import ForeignAuthor, SubmissionRules
from mailsvc.errors import MailboxFull, MailError, Refused
from mailsvc.filters.chain import FilterChain
from mailsvc.interfaces import IFilter, IIntake, Incoming
from mailsvc.model.account import Account, Role
from mailsvc.model.address import parse_address
from mailsvc.model.envelope import Body, Client, Envelope, Notify, Recipient
from mailsvc.model.headers import Headers
from mailsvc.model.status import Status
from mailsvc.model.verdict import PASS, Verdict, reject, tempfail
from mailsvc.spool import SpoolRoom
from mailsvc.store.account_changes import delete_account
from mailsvc.store.database import Database
from mailsvc.store.deliveries import INLINE, RecipientGone
from mailsvc.store.directory import Directory
from mailsvc.store.engine import Engines
from mailsvc.store.tables import message
from tests.support.mail_store import Gate, Store, content, renamed, running
from tests.support.pump import Pump

NOON = datetime(2026, 5, 4, 12, 0, 7, 999_999, tzinfo=UTC)


@implementer(IFilter)
class Says:
    """Says what the test wants, and remembers what it saw."""

    def __init__(self, verdict: Verdict | Exception) -> None:
        self.verdict = verdict
        self.seen: list[Incoming] = []

    async def judge(self, mail: Incoming) -> Verdict:
        """Say it."""
        self.seen.append(mail)
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


@pytest.fixture
def pump() -> Pump:
    """Be the reactor."""
    return Pump()


@pytest.fixture
def store(engines: Engines) -> Store:
    """Give a store for mail."""
    return Store(engines)


@pytest.fixture
def database(database_url: str, pump: Pump) -> Iterator[Database]:
    """Run a database."""
    with running(database_url, pump, node=1) as started:
        yield started


@pytest.fixture
def intake(database: Database) -> Intake:
    """Open the door; no filter stands in it."""
    clock = Clock()
    return Intake(
        database,
        FilterChain({}, clock),
        "mail.test.com",
        SubmissionRules(Directory(database, clock, "+")),
        BinaryConversion(SpoolRoom(Path(gettempdir()), SpoolSettings(spare_disk=0)), clock),
    )


def envelope(
    *accounts: Account, sender: str = "eve@example.org", ip: str = "192.0.2.1"
) -> Envelope:
    """Make the envelope of a message to some accounts."""
    return Envelope(
        client=Client(ip, 4711),
        helo="client.example.org",
        protocol="ESMTPS",
        login=None,
        sender=parse_address(sender, utf8=True) if sender else None,
        recipients=tuple(Recipient(one.address, (one,)) for one in accounts),
        body=Body.EIGHTBIT,
        received=NOON,
    )


def stored(store: Store, account: Account) -> bytes:
    """Read the only message of an account."""
    (number,) = store.messages(account)
    body = store.body(number)
    assert body is not None
    return body


class TestTrace:
    """What we put on top; RFC 5321 section 4.4."""

    @pytest.mark.parametrize(
        ("received", "empty_line"),
        [
            (b"", b"\r\n"),
            (b"\r\n", b""),
            (b"no header at all\r\n", b"\r\n"),
            (b" a broken field?\r\n", b"\r\n"),
            (b"From eve Mon May  4 12:00:00 2026\r\nSubject: mbox\r\n\r\n", b""),
            (b"Subject: hello\r\n\r\n.\r\n..dots\r\n", b""),
            (b"Return-Path: <forged@example.org>\r\n\r\nx\r\n", b""),
            (b"\xff\xfe\x00 any octet\r\n", b"\r\n"),
            (b"A: b\r\n\r\n" + b"long " * INLINE, b""),
        ],
    )
    def test_what_was_received_is_not_touched(
        self, intake: Intake, store: Store, pump: Pump, received: bytes, empty_line: bytes
    ) -> None:
        """
        Two fields on top, and then every octet as it came: signatures stay valid.

        Text without a header gets an empty line before it, so that it is text to readers, too.
        """
        alice = store.add("alice")

        receipt = pump.finish(intake.accept(envelope(alice), content(received)))

        body = stored(store, alice)
        trace, rest = body[: len(body) - len(received)], body[len(body) - len(received) :]
        assert rest == received
        assert receipt.octets == len(body)
        assert re.fullmatch(
            rb"Return-Path: <eve@example\.org>\r\n"
            rb"Received: from client\.example\.org \(\[192\.0\.2\.1\]\)\r\n"
            rb"\tby mail\.test\.com with ESMTPS id " + receipt.queue_id.encode() + rb"\r\n"
            rb"\tfor <alice@test\.com>;\r\n"
            rb"\tMon, 04 May 2026 12:00:07 \+0000\r\n" + empty_line,
            trace,
        )

    def test_others_can_read_it(self, intake: Intake, store: Store, pump: Pump) -> None:
        """A parser that we did not write finds sender and time."""
        alice = store.add("alice")
        pump.finish(intake.accept(envelope(alice), content(b"Subject: hi\r\n\r\nhi\r\n")))

        parsed = message_from_bytes(stored(store, alice))

        assert not parsed.defects
        assert parsed.keys() == ["Return-Path", "Received", "Subject"]
        date = parsedate_to_datetime(parsed["Received"].rpartition(";")[2])
        assert date == NOON.replace(microsecond=0)

    def test_tls_is_told(self, intake: Intake, store: Store, pump: Pump) -> None:
        """Readers see whether anybody could listen on the last hop; RFC 8314 section 4.3."""
        alice = store.add("alice")
        mail = envelope(alice)._replace(protocol="UTF8SMTPS", cipher="TLS_AES_256_GCM_SHA384")

        pump.finish(intake.accept(mail, content(b"\r\n")))

        body = stored(store, alice)
        assert b" with UTF8SMTPS id " in body
        assert b"\tfor <alice@test.com>\r\n\ttls TLS_AES_256_GCM_SHA384;\r\n\tMon" in body

    def test_no_recipient_learns_of_another(self, intake: Intake, store: Store, pump: Pump) -> None:
        """A blind copy stays blind: two recipients, and neither is named."""
        alice, bob = store.add("alice"), store.add("bob")

        pump.finish(intake.accept(envelope(alice, bob), content(b"\r\n")))

        assert b"alice" not in stored(store, bob)
        assert b"bob" not in stored(store, alice)

    @pytest.mark.parametrize(
        ("sender", "ip", "expected"),
        [
            ("", "192.0.2.1", "Return-Path: <>\r\n"),
            ("gr\u00fc\u00dfe@example.org", "192.0.2.1", "<gr\u00fc\u00dfe@example.org>"),
            ('"a b"@example.org', "192.0.2.1", 'Return-Path: <"a b"@example.org>\r\n'),
            ("eve@example.org", "2001:db8::1", "([IPv6:2001:db8::1])"),
        ],
    )
    def test_any_sender_and_client(
        self, intake: Intake, store: Store, pump: Pump, sender: str, ip: str, expected: str
    ) -> None:
        """Bounces, addresses of RFC 6531, quoted ones and IPv6."""
        alice = store.add("alice")

        pump.finish(intake.accept(envelope(alice, sender=sender, ip=ip), content(b"\r\n")))

        assert expected in stored(store, alice).decode()


class TestResponsibility:
    """A receipt is a promise; RFC 5321 section 6.1."""

    def test_no_receipt_before_the_commit(
        self, intake: Intake, database: Database, store: Store, pump: Pump
    ) -> None:
        """While the database works, the client waits; then the mail is there for everybody."""
        verifyObject(IIntake, intake)
        alice = store.add("alice")
        gate = Gate()
        busy = gate.close(database, pump)
        waiting = [pump.start(intake.accept(envelope(alice), content(b"\r\n"))) for _ in range(4)]
        seen: list[int] = []
        for one in waiting:
            _ = one.answer.addCallback(lambda _: seen.append(len(store.uids(alice))))

        pump.drain()
        assert seen == []
        gate.opened.set()
        pump.finish(busy)
        for one in waiting:
            one.result()

        assert seen == [4, 4, 4, 4]

    def test_one_mailbox_gets_one_copy(self, intake: Intake, store: Store, pump: Pump) -> None:
        """However many of its names were given."""
        admin = store.add("admin", Role.ADMIN)
        names = ("admin", "ADMIN", "postmaster")
        wanted = envelope(admin)._replace(
            recipients=tuple(Recipient(parse_address(f"{one}@test.com"), (admin,)) for one in names)
        )

        pump.finish(intake.accept(wanted, content(b"\r\n")))

        assert store.uids(admin) == [1]
        assert b"for <" not in stored(store, admin)

    def test_the_digest_is_that_of_all_octets(
        self, intake: Intake, store: Store, pump: Pump
    ) -> None:
        """Also of a large message, whose digest is made while others are written."""
        alice = store.add("alice")

        pump.finish(intake.accept(envelope(alice), content(b"0123456789abcdef" * 40_000)))

        (number,) = store.messages(alice)
        digest = store.do(lambda conn: conn.scalar(select(message.c.digest)))
        assert digest is not None
        assert bytes(digest) == sha256(store.body(number) or b"").digest()

    @pytest.mark.parametrize("trouble", [MailboxFull, RecipientGone])
    def test_all_or_nobody(
        self, intake: Intake, store: Store, pump: Pump, trouble: type[MailError]
    ) -> None:
        """The client hears why, keeps the message and tries again: nobody gets it twice."""
        alice, other = store.add("alice"), renamed(store.add("other"), quota_messages=0)
        if trouble is RecipientGone:
            store.do(delete_account, other.address)

        with pytest.raises(trouble) as told:
            pump.finish(intake.accept(envelope(alice, other), content(b"\r\n")))

        assert not told.value.status.permanent
        assert store.uids(alice) == []


@pytest.mark.parametrize("kind", ["sqlite"])
class TestSubmission:
    """What is done for our own users only."""

    def test_missing_fields_stand_below_our_trace(
        self, intake: Intake, store: Store, pump: Pump
    ) -> None:
        """What was received stays octet for octet, without a header, too."""
        alice = store.add("alice")
        mail = envelope(alice, sender="alice@test.com")._replace(login=alice)

        pump.finish(intake.accept(mail, content(b"text\r\n")))

        body = stored(store, alice)
        assert message_from_bytes(body).keys() == [
            "Return-Path",
            "Received",
            "From",
            "Date",
            "Message-ID",
        ]
        assert body.endswith(b"@test.com>\r\n\r\ntext\r\n")

    def test_a_foreign_author_is_refused_before_anything_is_stored(
        self, intake: Intake, store: Store, pump: Pump
    ) -> None:
        """An own subaddress is not foreign."""
        alice, _ = store.add("alice"), store.add("bob")
        mail = envelope(alice, sender="alice@test.com")._replace(login=alice)

        pump.finish(intake.accept(mail, content(b"From: alice+shop@test.com\r\n\r\n")))
        with pytest.raises(ForeignAuthor):
            pump.finish(intake.accept(mail, content(b"From: bob@test.com\r\n\r\n")))

        assert store.uids(alice) == [1]


@pytest.mark.parametrize("kind", ["sqlite"])
class TestBinary:
    """BODY=BINARYMIME; RFC 3030 section 3."""

    def accept(self, intake: Intake, store: Store, pump: Pump, octets: bytes) -> bytes:
        """Take a binary message for alice; gives what she reads, below the trace."""
        alice = store.add("alice")
        mail = envelope(alice)._replace(body=Body.BINARY)
        pump.finish(intake.accept(mail, content(octets)))
        return stored(store, alice).partition(b"+0000\r\n")[2]

    def test_filters_and_readers_see_lines(self, intake: Intake, store: Store, pump: Pump) -> None:
        """What cannot be lines is base64 before anybody looks at it."""
        sees = Says(PASS)
        intake.chain = FilterChain({"sees": sees}, Clock())
        header = b"Content-Transfer-Encoding: binary\r\n\r\n"

        body = self.accept(intake, store, pump, header + b"\0\n\r")

        assert body == b"Content-Transfer-Encoding: base64\r\n\r\nAAoN\r\n"
        assert sees.seen[0].headers.first(b"content-transfer-encoding") == b"base64"

    def test_what_is_clean_stays(self, intake: Intake, store: Store, pump: Pump) -> None:
        """Octet for octet."""
        octets = b"Content-Transfer-Encoding: binary\r\n\r\nclean\r\n"
        assert self.accept(intake, store, pump, octets) == octets

    def test_what_has_no_lines_is_refused(self, intake: Intake, store: Store, pump: Pump) -> None:
        """The sender said what the parts are, and it is not true."""
        with pytest.raises(NotConvertible):
            self.accept(intake, store, pump, b"Subject: x\r\n\r\na\nb\r\n")


@pytest.mark.parametrize("kind", ["sqlite"])
class TestReports:
    """RFC 3461: who asks for it hears of the delivery."""

    def send(self, intake: Intake, pump: Pump, sender: str, *recipients: Recipient) -> None:
        """Send a message that has an ENVID."""
        mail = envelope(sender=sender)._replace(recipients=recipients, identifier="QQ314")
        pump.finish(intake.accept(mail, content(b"Subject: hi\r\n\r\nsecret\r\n")))

    def test_the_sender_hears_of_those_he_asked_for(
        self, intake: Intake, store: Store, pump: Pump
    ) -> None:
        """In one report, from the null path, with the header as it was delivered."""
        alice, bob, carol = store.add("alice"), store.add("bob"), store.add("carol")
        asked = frozenset({Notify.SUCCESS, Notify.FAILURE})

        self.send(
            intake,
            pump,
            "alice@test.com",
            Recipient(bob.address, (bob,), asked, "rfc822;b@example.org"),
            Recipient(carol.address, (carol,), frozenset({Notify.FAILURE})),
        )

        report = stored(store, alice)
        assert report.startswith(b"Return-Path: <>\r\nDate: Mon, 04 May 2026 12:00:07 +0000\r\n")
        assert b"Original-Envelope-Id: QQ314\r\n" in report
        assert b"Original-Recipient: rfc822;b@example.org\r\n" in report
        assert report.count(b"Final-Recipient:") == 1
        assert b"Received: from client.example.org" in report
        assert b"Subject: hi\r\n" in report
        assert b"secret" not in report
        assert message_from_bytes(report).get_content_type() == "multipart/report"
        assert len(store.uids(bob)) == len(store.uids(carol)) == 1

    @pytest.mark.parametrize(
        ("sender", "notify"),
        [
            ("", {Notify.SUCCESS}),
            ("eve@example.org", {Notify.SUCCESS}),
            ("postmaster@example.org", {Notify.SUCCESS}),
            ("alice@test.com", {Notify.NEVER}),
            ("alice@test.com", {Notify.FAILURE, Notify.DELAY}),
            ("alice@test.com", set()),
        ],
    )
    def test_nobody_else_hears_of_it(
        self, intake: Intake, store: Store, pump: Pump, sender: str, notify: set[Notify]
    ) -> None:
        """Not a null path, not another server's user, not who has not asked."""
        alice, bob = store.add("alice", Role.ADMIN), store.add("bob")

        self.send(intake, pump, sender, Recipient(bob.address, (bob,), frozenset(notify)))

        assert store.uids(alice) == []
        assert store.uids(bob) == [1]


@pytest.mark.parametrize("kind", ["sqlite"])
class TestFilters:
    """Filters are asked before anything is stored."""

    @pytest.mark.parametrize(
        ("verdicts", "status"),
        [
            ([reject(Status(5, 7, 1), "no")], "5.7.1"),
            ([tempfail(Status(4, 7, 1), "later")], "4.7.1"),
            ([PASS, tempfail(Status(4, 7, 1), ""), reject(Status(5, 7, 1), ""), PASS], "5.7.1"),
            ([reject(Status(5, 7, 1), ""), tempfail(Status(4, 7, 1), "")], "5.7.1"),
            ([ValueError("a bug with secrets in it")], "4.3.0"),
            ([ValueError(), reject(Status(5, 7, 1), "no")], "5.7.1"),
        ],
    )
    def test_the_strictest_verdict_wins(
        self,
        intake: Intake,
        store: Store,
        pump: Pump,
        verdicts: list[Verdict | Exception],
        status: str,
    ) -> None:
        """Whatever the order; a filter that breaks loses no mail and tells no secret."""
        alice = store.add("alice")
        filters = {str(place): Says(verdict) for place, verdict in enumerate(verdicts)}
        intake.chain = FilterChain(filters, Clock())

        with pytest.raises(Refused) as told:
            pump.finish(intake.accept(envelope(alice), content(b"Subject: x\r\n\r\n")))

        assert str(told.value.status) == status
        assert "secret" not in str(told.value)
        assert [len(one.seen) for one in filters.values()] == [1] * len(verdicts)
        assert store.uids(alice) == []

    def test_a_filter_sees_the_message_as_it_came(
        self, intake: Intake, store: Store, pump: Pump
    ) -> None:
        """Before our trace fields: those are nobody's fault."""
        alice = store.add("alice")
        filters = {"first": Says(PASS), "second": Says(PASS)}
        intake.chain = FilterChain(filters, Clock())
        wanted = envelope(alice)

        pump.finish(intake.accept(wanted, content(b"Subject: x\r\n\r\nbody\r\n")))

        for one in filters.values():
            (mail,) = one.seen
            assert mail.envelope == wanted
            assert mail.headers.fields == ((b"subject", b"x"),)
            assert b"".join(mail.content.pieces(3)) == b"Subject: x\r\n\r\nbody\r\n"
        assert store.uids(alice) == [1]

    def test_a_message_that_waits_for_its_commit_keeps_no_copies(
        self, intake: Intake, database: Database, store: Store, pump: Pump
    ) -> None:
        """Thousands may wait, and a header section of 256 KiB is held once, by its spool."""
        alice = store.add("alice")
        seen: list[ReferenceType[Headers]] = []

        @implementer(IFilter)
        class Glances:
            async def judge(self, mail: Incoming) -> Verdict:
                seen.append(ref(mail.headers))
                return PASS

        intake.chain = FilterChain({"glances": Glances()}, Clock())
        gate = Gate()
        _ = gate.close(database, pump)

        waiting = pump.start(intake.accept(envelope(alice), content(b"Subject: x\r\n\r\n")))

        assert [one() for one in seen] == [None]
        gate.opened.set()
        waiting.result()
