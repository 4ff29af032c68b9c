"""Nobody sends through us to a third place, however the address is written."""

from itertools import product

import pytest

from mailsvc.config.settings import Kind, Relay
from tests.support.smtp_talk import Talk

FOREIGN = [
    b"<x@other.example>",
    b"<X@OTHER.EXAMPLE>",
    b"<x%other.example@test.com>",
    b"<other.example!x@test.com>",
    b"<x%other.example@[127.0.0.1]>",
    b'<"x@other.example"@test.com>',
    b'<"x@other.example">',
    b'<"x%other.example"@test.com>',
    b'<"\\x@other.example"@test.com>',
    b"<@test.com:x@other.example>",
    b"<@test.com,@other.example:x@third.example>",
    b"<@[127.0.0.1]:x@other.example>",
    b"<x@other.example@test.com>",
    b"<x@test.com@other.example>",
    b"<x@test.com.other.example>",
    b"<x@test.com.>",
    b"<x@.test.com>",
    b"<x@other.example,bob@test.com>",
    b"<x@other.example:bob@test.com>",
    b"<bob@test.com:x@other.example>",
    b"<x@[127.0.0.1]>",
    b"<x@[IPv6:::1]>",
    b"<x@localhost>",
    b"<x@other>",
    b"<x>",
    b"<x@>",
    b"<@other.example>",
    b"<>",
    b"x@other.example",
    b"<x@other.example",
    b"<<x@other.example>>",
    b"<bob@test.com><x@other.example>",
    b"<bob@test.com> <x@other.example>",
    b"<bob@test.com>,<x@other.example>",
    b"<x@other.example> <bob@test.com>",
    b"<x@other.example\0@test.com>",
    b"<x@other.example\r@test.com>",
    b"<bob@test.com\t@other.example>",
    b"<bob @test.com>",
    b"<|/bin/sh@test.com>",
    b"<x@other.example(bob@test.com)>",
    b"<=?utf-8?q?x=40other.example=3e?=@test.com>",
    "<x\uff20other.example>".encode(),
    "<x@test。com>".encode(),
]
LOCAL = [b"<bob@test.com>", b"<BOB@Test.COM>", b"<@any.example:bob@test.com>", b'<"bob"@test.com>']


def open_transaction(kind: Kind, *, login: bool) -> Talk:
    """Get to the point where RCPT is next."""
    talk = Talk(kind).logged_in() if login else Talk(kind).greeted()
    sender = b"alice@test.com" if login else b"x@third.example"
    return talk.says(b"MAIL FROM:<" + sender + b"> SMTPUTF8").hears(b"250 2.1.0")


@pytest.mark.parametrize(("path", "login"), list(product(FOREIGN, [False, True])), ids=repr)
def test_no_spelling_gets_mail_through_us(path: bytes, login: bool) -> None:  # noqa: FBT001 - a column
    """Anonymous, or logged in where nobody may: refused, and no recipient is there for DATA."""
    talk = open_transaction(Kind.SUBMISSION if login else Kind.SMTP, login=login)
    talk.factory.house.relay = Relay.NOBODY

    talk.says(b"RCPT TO:" + path)

    assert talk.unheard()[:1] == b"5", talk.unheard()
    talk.skips().says(b"DATA").hears(b"503 5.5.1")


@pytest.mark.parametrize(("path", "login"), list(product(LOCAL, [False, True])))
def test_our_own_users_are_reached_in_every_spelling(path: bytes, login: bool) -> None:  # noqa: FBT001 - a column
    """A source route is dropped and quotes that need not be are the same mailbox."""
    talk = open_transaction(Kind.SUBMISSION if login else Kind.SMTP, login=login)

    talk.says(b"RCPT TO:" + path, b"DATA", b"x", b".")

    talk.hears(b"250 2.1.5", b"354", b"250 2.0.0")
    [(envelope, _)] = talk.intake.taken
    assert envelope.recipients[0].accounts[0].address.local == "bob"


@pytest.mark.parametrize(
    "sender", [b"<bob@test.com>", b"<x@other.example>", b"<alice@[127.0.0.1]>"]
)
def test_a_login_sends_under_no_foreign_name(sender: bytes) -> None:
    """RFC 6409 section 6.1."""
    Talk(Kind.SUBMISSION).logged_in().says(b"MAIL FROM:" + sender).hears(b"550 5.7.1")


def test_submission_takes_nothing_from_strangers() -> None:
    """Not even mail for our own users."""
    Talk(Kind.SUBMISSION).greeted().says(b"MAIL FROM:<x@other.example>").hears(b"530 5.7.0")
