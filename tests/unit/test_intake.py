"""From the end of DATA to the commit."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from email.utils import parsedate_to_datetime
from weakref import ReferenceType, ref

import pytest
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailsvc.delivery.intake import Intake
from mailsvc.errors import MailboxFull, MailError, Refused
from mailsvc.filters.chain import FilterChain
from mailsvc.interfaces import IFilter, IIntake, Incoming
from mailsvc.model.account import Account, Role
from mailsvc.model.address import parse_address
from mailsvc.model.envelope import Body, Client, Envelope, Recipient
from mailsvc.model.headers import Headers
from mailsvc.model.status import Status
from mailsvc.model.verdict import PASS, Verdict, reject, tempfail
from mailsvc.store.accounts import delete_account
from mailsvc.store.database import Database
from mailsvc.store.deliveries import INLINE, RecipientGone
from mailsvc.store.engine import Engines
from tests.support.mail_store import Gate, Store, content, running
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
    return Intake(database, FilterChain({}, Clock()), "mail.test.com")


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
        recipients=tuple(Recipient(one.address, one) for one in accounts),
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
        "received",
        [
            b"",
            b"\r\n",
            b"no header at all\r\n",
            b"Subject: hello\r\n\r\n.\r\n..dots\r\n",
            b"Return-Path: <forged@example.org>\r\n\r\nx\r\n",
            b"\xff\xfe\x00 any octet\r\n",
            b"A: b\r\n\r\n" + b"long " * INLINE,
        ],
    )
    def test_what_was_received_is_not_touched(
        self, intake: Intake, store: Store, pump: Pump, received: bytes
    ) -> None:
        """Two fields on top, and then every octet as it came: signatures stay valid."""
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
            rb"\tMon, 04 May 2026 12:00:07 \+0000\r\n",
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
            recipients=tuple(Recipient(parse_address(f"{one}@test.com"), admin) for one in names)
        )

        pump.finish(intake.accept(wanted, content(b"\r\n")))

        assert store.uids(admin) == [1]
        assert b"for <" not in stored(store, admin)

    @pytest.mark.parametrize("trouble", [MailboxFull, RecipientGone])
    def test_all_or_nobody(
        self, intake: Intake, store: Store, pump: Pump, trouble: type[MailError]
    ) -> None:
        """The client hears why, keeps the message and tries again: nobody gets it twice."""
        alice, other = store.add("alice"), store.add("other", quota_messages=0)
        if trouble is RecipientGone:
            store.do(delete_account, other.address)

        with pytest.raises(trouble) as told:
            pump.finish(intake.accept(envelope(alice, other), content(b"\r\n")))

        assert not told.value.status.permanent
        assert store.uids(alice) == []


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
