"""The avatar of a login to SMTP, as protocols of Twisted's own see it."""

from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.mail import smtp
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from mailsvc.config.settings import Relay, SpoolSettings
from mailsvc.smtp.avatar import Submission
from mailsvc.spool import SpoolRoom
from tests.support.smtp_talk import MemoryDirectory, MemoryIntake

HELO = (b"client.example", b"192.0.2.1")


class House:
    """Alice's avatar."""

    def __init__(self, tmp_path: Any) -> None:
        directory = MemoryDirectory()
        self.intake = MemoryIntake()
        alice = directory.accounts["alice@test.com"]
        room = SpoolRoom(tmp_path, SpoolSettings())
        self.avatar = Submission(alice, directory, self.intake, room)

    def recipient(self, address: bytes, sender: bytes = b"alice@test.com") -> Any:
        """Ask for a recipient; gives what makes the message, or a Failure."""
        user = smtp.User(smtp.Address(address), HELO, None, smtp.Address(sender))
        return now(self.avatar.validateTo(user))


def now(answer: "Deferred[Any]") -> Any:
    """Give the result of a Deferred that has fired."""
    found: list[Any] = []
    _ = answer.addBoth(found.append)
    return found[0]


def test_it_keeps_twisteds_interfaces(tmp_path: Any) -> None:
    """``IMessageDelivery`` and ``IMessage``."""
    house = House(tmp_path)

    assert verifyObject(smtp.IMessageDelivery, house.avatar)
    assert verifyObject(smtp.IMessage, house.recipient(b"bob@test.com")())


def test_a_message_line_by_line_gets_to_the_intake(tmp_path: Any) -> None:
    """With one trace field, which the intake writes."""
    house = House(tmp_path)
    message = house.recipient(b"bob@test.com")()
    for line in (b"Subject: hi", b"", b"text"):
        message.lineReceived(line)

    assert now(message.eomReceived()).startswith(b"OK, stored as ")

    [(envelope, content)] = house.intake.taken
    assert content == b"Subject: hi\r\n\r\ntext\r\n"
    assert str(envelope.sender) == "alice@test.com"
    assert str(envelope.recipients[0].address) == "bob@test.com"
    assert house.avatar.receivedHeader(HELO, smtp.Address(b"a@b"), []) == b""
    assert house.avatar.room.used == 0


def test_half_a_message_is_forgotten(tmp_path: Any) -> None:
    """And its memory given back."""
    house = House(tmp_path)
    message = house.recipient(b"bob@test.com")()
    message.lineReceived(b"half")

    message.connectionLost()

    assert house.avatar.room.used == 0
    assert house.intake.taken == []


@pytest.mark.parametrize("address", [b"nobody@test.com", b"carol@test.com"])
def test_foreign_recipients_are_refused(tmp_path: Any, address: bytes) -> None:
    """By the same policy as in our own sessions."""
    refused = House(tmp_path).recipient(address)

    assert isinstance(refused, Failure)
    assert refused.check(smtp.SMTPBadRcpt)


def test_mail_leaves_only_where_it_may(tmp_path: Any) -> None:
    """By default users send to other servers."""
    house = House(tmp_path)
    assert not isinstance(house.recipient(b"x@other.example"), Failure)

    house.avatar = replace(house.avatar, relay=lambda: Relay.NOBODY)
    assert isinstance(house.recipient(b"x@other.example"), Failure)


def test_foreign_senders_are_refused(tmp_path: Any) -> None:
    """A user sends under the own address, or none."""
    avatar = House(tmp_path).avatar
    own, null = smtp.Address(b"alice@test.com"), smtp.Address(b"")

    assert now(avatar.validateFrom(HELO, own)) is own
    assert now(avatar.validateFrom(HELO, null)) is null
    refused = now(avatar.validateFrom(HELO, smtp.Address(b"bob@test.com")))
    assert refused.check(smtp.SMTPBadSender)
