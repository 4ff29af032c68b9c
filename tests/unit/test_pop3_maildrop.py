"""The avatar of a POP3 session, and its lease."""

from collections.abc import Coroutine
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.mail import pop3
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from mailsvc.background import Background
from mailsvc.config.settings import Pop3Settings
from mailsvc.errors import MaildropInUse, StorageFailed
from mailsvc.pop3.maildrop import Maildrop, MaildropDoor
from tests.support.pop3_maildrops import MemoryMaildrops, make_account
from tests.support.pop3_talk import faults, logs

ALICE = make_account(1)
LEASE = 120.0


def outcome(work: "Deferred[Any] | Coroutine[Deferred[Any], Any, Any]") -> Any:
    """Give what needs no waiting."""
    results: list[Any] = []
    deferred = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
    _ = deferred.addBoth(results.append)
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result


class Case:
    """Alice's maildrop, received by its door."""

    def __init__(self, *bodies: bytes, inline: int = 64 * 1024) -> None:
        self.clock = Clock()
        self.background = Background()
        self.maildrops = MemoryMaildrops(self.clock, inline, chunk=100)
        self.maildrops.fill(ALICE, *bodies)
        self.door = MaildropDoor(
            self.maildrops, self.clock, self.background, Pop3Settings(lease=LEASE)
        )
        self.maildrop: Maildrop
        self.maildrop, self.leave = outcome(self.door.receive(ALICE))
        self.lost: list[bool] = []
        self.maildrop.held.on_lost = lambda: self.lost.append(True)

    def wait(self, seconds: int) -> None:
        """Let time go by."""
        self.clock.pump([1] * seconds)


class TestMailbox:
    """``pop3.IMailbox``, for callers that know Twisted's interface only."""

    def test_it_provides_twisteds_interface(self) -> None:
        """Any code for Twisted's mailboxes can use it."""
        assert verifyObject(pop3.IMailbox, Case().maildrop)

    def test_sizes_are_told_singly_and_together(self) -> None:
        """A marked message has the size 0."""
        mailbox = Case(b"a\r\n", b"bcd\r\n").maildrop

        assert mailbox.listMessages() == [3, 5]
        assert mailbox.listMessages(1) == 5
        mailbox.deleteMessage(1)
        assert mailbox.listMessages() == [3, 0]
        assert mailbox.listMessages(1) == 0

    @pytest.mark.parametrize("index", [-1, -2, 2, 10**20])
    def test_no_other_index_is_taken(self, index: int) -> None:
        """Stock Twisted passes -1 on, and the last message is deleted."""
        mailbox = Case(b"a\r\n", b"bcd\r\n").maildrop

        for ask in (
            mailbox.listMessages,
            mailbox.getMessage,
            mailbox.getUidl,
            mailbox.deleteMessage,
        ):
            with pytest.raises(ValueError, match="no message"):
                ask(index)
        assert mailbox.count == 2

    @pytest.mark.parametrize("inline", [10, 1000])
    def test_a_message_is_a_file(self, inline: int) -> None:
        """However it is stored."""
        mailbox = Case(b"x" * 250, inline=inline).maildrop

        with outcome(mailbox.getMessage(0)) as file:
            assert file.read() == b"x" * 250

    def test_names_are_octets(self) -> None:
        """They are as the wire needs them."""
        assert Case(b"a\r\n").maildrop.getUidl(0) == b"7.1"

    def test_marks_come_and_go(self) -> None:
        """The counters follow; marking twice is harmless."""
        mailbox = Case(b"a\r\n", b"bcd\r\n").maildrop

        mailbox.deleteMessage(0)
        mailbox.deleteMessage(0)
        assert (mailbox.count, mailbox.octets) == (1, 5)
        mailbox.undeleteMessages()
        assert (mailbox.count, mailbox.octets) == (2, 8)

    def test_sync_removes_what_is_marked(self) -> None:
        """It tells how many that were, after the commit."""
        case = Case(b"a\r\n", b"b\r\n")
        case.maildrop.deleteMessage(0)

        assert outcome(case.maildrop.sync()) == 1
        assert case.maildrops.mail_of(ALICE) == [b"b\r\n"]

    def test_a_failed_sync_removes_nothing(self) -> None:
        """Its Deferred says so."""
        case = Case(b"a\r\n", b"b\r\n")
        case.maildrop.deleteMessage(0)
        case.maildrops.faults["expunge"] = StorageFailed()

        with pytest.raises(StorageFailed):
            outcome(case.maildrop.sync())
        assert len(case.maildrops.mail_of(ALICE)) == 2


class TestLease:
    """The right to be alone."""

    def test_a_second_session_is_refused(self) -> None:
        """RFC 1939 section 4."""
        case = Case()

        with pytest.raises(MaildropInUse):
            outcome(case.door.receive(ALICE))

    def test_it_is_renewed_while_the_session_lives(self) -> None:
        """A client may take an hour."""
        case = Case()

        case.wait(3600)

        assert case.maildrops.is_taken(ALICE)
        assert case.maildrops.renewals == 90
        assert case.lost == []

    def test_leaving_releases_it(self) -> None:
        """Also the timer is gone."""
        case = Case()

        case.leave()

        assert not case.maildrops.is_taken(ALICE)
        assert case.clock.getDelayedCalls() == []
        assert len(case.background) == 0

    def test_leaving_after_a_release_is_harmless(self) -> None:
        """A session that has come meanwhile keeps the maildrop."""
        case = Case()
        outcome(case.maildrop.release())
        outcome(case.door.receive(ALICE))

        case.leave()

        assert case.maildrops.is_taken(ALICE)

    def test_a_lost_lease_is_told(self) -> None:
        """Within the time of one renewal; then there are no more."""
        case = Case()
        case.maildrops.steal(ALICE)

        case.wait(41)
        assert case.lost == [True]
        case.wait(300)
        assert case.maildrops.renewals == 1

    def test_a_failed_renewal_is_tried_again(self) -> None:
        """A database that was away for a minute ends no session."""
        case = Case()
        case.maildrops.faults["renew"] = StorageFailed()

        with logs() as heard:
            case.wait(81)

        assert case.maildrops.is_taken(ALICE)
        assert case.lost == []
        assert any("could not be renewed" in event["log_format"] for event in heard)

    def test_a_bug_in_a_renewal_is_logged_and_tried_again(self) -> None:
        """The session goes on."""
        case = Case()
        case.maildrops.faults["renew"] = RuntimeError("a bug")

        with logs() as heard:
            case.wait(81)

        assert case.maildrops.renewals == 1
        assert len(faults(heard)) == 1

    def test_a_release_during_a_renewal_is_the_last_word(self) -> None:
        """The answer of the renewal starts nothing and tells nothing."""
        case = Case()
        gate: Deferred[None] = Deferred()
        case.maildrops.gates["renew"] = gate
        case.wait(41)

        case.leave()
        gate.callback(None)

        assert case.lost == []
        assert case.clock.getDelayedCalls() == []
        assert not case.maildrops.is_taken(ALICE)

    def test_a_renewal_during_the_release_is_the_last_one(self) -> None:
        """No timer is left behind."""
        case = Case()
        renewal, release = Deferred[None](), Deferred[None]()
        case.maildrops.gates.update(renew=renewal, release=release)
        case.wait(41)
        case.leave()

        renewal.callback(None)

        assert case.clock.getDelayedCalls() == []
        release.callback(None)
        assert not case.maildrops.is_taken(ALICE)

    def test_a_session_that_ends_gives_its_memory_back(self) -> None:
        """What was read ahead of it is for others."""
        case = Case(*[b"x" * 400] * 3)
        room = cast("Any", case.door)._room  # noqa: SLF001 - what the operator pays for
        before = room.free
        outcome(case.maildrop.whole(0))

        case.leave()

        assert room.free == before

    def test_an_idle_session_gives_its_memory_back(self) -> None:
        """What was read ahead of a client that sleeps is dropped."""
        case = Case(*[b"x" * 400] * 3)
        room = cast("Any", case.door)._room  # noqa: SLF001 - what the operator pays for
        before = room.free
        outcome(case.maildrop.whole(0))
        assert room.free == before - 800

        case.wait(81)

        assert room.free == before
