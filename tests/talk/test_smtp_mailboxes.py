"""Who gets a message is decided at RCPT: groups, full mailboxes, disabled domains."""

from dataclasses import replace

import pytest

from mailsvc.config.settings import Kind
from mailsvc.errors import MailboxFull
from mailsvc.interfaces import IContent
from mailsvc.model.account import Account
from mailsvc.model.address import Address
from mailsvc.model.envelope import Envelope
from mailsvc.model.quota import Usage
from mailsvc.model.receipt import Receipt
from mailsvc.model.route import DeadEnd, Route
from tests.support.smtp_talk import MemoryIntake, Talk


def talk_with(kind: Kind = Kind.SMTP, **quota: int) -> Talk:
    """Greet a server where bob has a quota, and where team is alice and bob."""
    talk = Talk(kind)
    known = talk.directory.accounts
    known["bob@test.com"] = replace(known["bob@test.com"], **quota)  # type: ignore[arg-type]  # only quotas
    talk.directory.groups["team@test.com"] = (known["alice@test.com"], known["bob@test.com"])
    return talk.says(b"LHLO client" if kind is Kind.LMTP else b"EHLO client.example").skips()


def fill(talk: Talk, octets: int, messages: int) -> None:
    """Put mail into bob's mailbox."""
    talk.directory.used[talk.directory.accounts["bob@test.com"].id] = Usage(octets, messages)


@pytest.mark.parametrize(
    ("size", "octets", "messages", "answer"),
    [
        (b"", 999, 0, b"250 2.1.5"),
        (b"", 1000, 0, b"452 4.2.2"),
        (b"", 0, 9, b"250 2.1.5"),
        (b"", 0, 10, b"452 4.2.2"),
        (b" SIZE=500", 500, 0, b"250 2.1.5"),
        (b" SIZE=501", 500, 0, b"452 4.2.2"),
        (b" SIZE=1000", 1000, 0, b"452 4.2.2"),
        (b" SIZE=1001", 0, 0, b"552 5.2.2"),
        (b" SIZE=1001", 0, 10, b"552 5.2.2"),
    ],
)
def test_a_full_mailbox_is_told_at_rcpt(
    size: bytes, octets: int, messages: int, answer: bytes
) -> None:
    """The message need not travel; for good only where it can never fit."""
    talk = talk_with(quota_octets=1000, quota_messages=10)
    fill(talk, octets, messages)

    talk.says(b"MAIL FROM:<x@a.example>" + size).hears(b"250 2.1.0")

    talk.says(b"RCPT TO:<bob@test.com>").hears(answer)
    talk.says(b"RCPT TO:<alice@test.com>").hears(b"250 2.1.5")


def test_nobody_is_refused_for_what_was_true_a_moment_ago() -> None:
    """What is remembered may let mail in; it never keeps mail out."""
    talk = talk_with(quota_octets=1000)
    fill(talk, 0, 0)
    talk.says(b"MAIL FROM:<x@a.example>", b"RCPT TO:<bob@test.com>").skips()
    assert talk.directory.asked == [False]

    fill(talk, 1000, 1)
    talk.says(b"RCPT TO:<bob@test.com>").hears(b"452 4.2.2")
    assert talk.directory.asked == [False, False, True]


def test_without_a_quota_nothing_is_asked() -> None:
    """RCPT costs what it did."""
    talk = talk_with()
    talk.says(b"MAIL FROM:<x@a.example>", b"RCPT TO:<bob@test.com>").skips()

    assert talk.directory.asked == []


@pytest.mark.parametrize("full", [("bob",), ("alice", "bob")])
def test_a_group_is_full_when_all_its_members_are(full: tuple[str, ...]) -> None:
    """One full member keeps nobody's mail out."""
    talk = Talk()
    known = talk.directory.accounts
    for name in full:
        one = replace(known[f"{name}@test.com"], quota_messages=1)
        known[f"{name}@test.com"] = one
        talk.directory.used[one.id] = Usage(1, 1)
    talk.directory.groups["team@test.com"] = (known["alice@test.com"], known["bob@test.com"])

    talk.greeted().says(b"MAIL FROM:<x@a.example>", b"RCPT TO:<team@test.com>")

    talk.hears(b"250 2.1.0", b"250 2.1.5" if len(full) == 1 else b"452 4.2.2")


def test_a_recipient_is_all_mailboxes_behind_it() -> None:
    """The envelope has one recipient with two accounts."""
    talk = talk_with()
    talk.says(b"MAIL FROM:<x@a.example>", b"RCPT TO:<team@test.com>", b"DATA", b"hi", b".").skips()

    [(envelope, _)] = talk.intake.taken
    [recipient] = envelope.recipients
    assert [one.address.local for one in recipient.accounts] == ["alice", "bob"]


def test_a_disabled_domain_says_so() -> None:
    """Senders get their mail back, with a reason that is no relaying."""
    talk = Talk().greeted().says(b"MAIL FROM:<x@a.example>").skips()

    talk.says(b"RCPT TO:<bob@disabled.example>").hears(b"550 5.2.1 This domain is disabled")


def test_a_circle_is_a_fault_of_ours() -> None:
    """The sender keeps the message until an administrator has mended it."""
    talk = Talk().greeted().says(b"MAIL FROM:<x@a.example>").skips()

    async def route(address: Address) -> Route:
        del address
        return Route((), DeadEnd.CIRCLE)

    talk.directory.route = route  # type: ignore[method-assign]
    talk.says(b"RCPT TO:<bob@test.com>").hears(b"451 4.4.6")


def test_members_of_a_group_do_not_send_as_the_group() -> None:
    """Nobody could tell who wrote it; an alias is what it takes."""
    talk = Talk(Kind.SUBMISSION)
    talk.directory.groups["team@test.com"] = (talk.directory.accounts["alice@test.com"],)
    talk.logged_in()

    talk.says(b"MAIL FROM:<team@test.com>").hears(b"550 5.7.1")


class BobIsFull(MemoryIntake):
    """Takes nothing for bob alone, and nothing for several recipients at once."""

    async def accept(self, envelope: Envelope, content: IContent) -> Receipt:
        recipients: list[tuple[Account, ...]] = [one.accounts for one in envelope.recipients]
        if len(recipients) > 1 or all(one.address.local == "bob" for one in recipients[0]):
            raise MailboxFull
        return await super().accept(envelope, content)


def test_lmtp_gives_each_mailbox_one_copy() -> None:
    """Though alice is a recipient and a member, and bob is full: the group is served by her."""
    talk = talk_with(Kind.LMTP)
    talk.factory.house = replace(talk.factory.house, intake=(intake := BobIsFull()))
    talk.protocol = talk.factory.buildProtocol(None)
    talk.protocol.makeConnection(talk.transport)
    talk.says(b"LHLO client").skips()

    talk.says(
        b"MAIL FROM:<x@a.example>",
        b"RCPT TO:<alice@test.com>",
        b"RCPT TO:<team@test.com>",
        b"RCPT TO:<bob@test.com>",
    ).skips()
    talk.says(b"DATA", b"hi", b".").hears(b"354", b"250 2.0.0", b"250 2.0.0", b"452 4.2.2")

    assert len(intake.taken) == 1
