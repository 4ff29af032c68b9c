"""Reports tell people and programs what became of a message; RFC 3461, 3464, 6522, 6533."""

from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage, Message

import pytest
from zope.interface.verify import verifyObject

from mailsvc.delivery.reports import LARGEST_QUOTE, Action, Fate, Report, write_report
from mailsvc.interfaces import IContent
from mailsvc.model.address import parse_address
from mailsvc.model.status import Status

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ALICE, BOB = parse_address("alice@test.com"), parse_address("bob@test.com")
USER = parse_address("用户@例子.测试", utf8=True)
HEADER = b"From: alice@test.com\r\nSubject: hello\r\n\r\nthe body, which stays secret\r\n"


def report(*fates: Fate, header: bytes = HEADER, identifier: str = "") -> Report:
    """Make a report for alice."""
    return Report(
        hostname="mail.test.com",
        sender=ALICE,
        identifier=identifier,
        arrived=NOON,
        now=NOON + timedelta(seconds=1),
        fates=fates,
        header=header,
    )


def written(asked: Report) -> tuple[bytes, EmailMessage]:
    """Write it; give the octets and what a parser that we did not write makes of them."""
    octets = b"".join(write_report(asked).pieces(1000))
    parsed = message_from_bytes(octets, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    assert not any(part.defects for part in parsed.walk())
    assert octets.count(b"\r") == octets.count(b"\n") == octets.count(b"\r\n")
    return octets, parsed


def delivered(original: str = "") -> Fate:
    """Tell that bob got it."""
    return Fate(BOB, Action.DELIVERED, Status(2, 0, 0), original)


def groups(part: "Message[str, str]") -> list[dict[str, str]]:
    """Read the groups of fields of a delivery status."""
    blocks = [one for one in part.walk() if one is not part]
    return [{name: str(value) for name, value in one.items()} for one in blocks]


def test_it_is_a_message_like_any_other() -> None:
    """Mail programs show it, and automatic answers do not answer it; RFC 3834."""
    octets, parsed = written(report(delivered()))

    verifyObject(IContent, write_report(report(delivered())))
    assert parsed["To"] == "alice@test.com"
    assert parsed["From"] == "Mail Delivery System <MAILER-DAEMON@mail.test.com>"
    assert parsed["Subject"] == "Your message was delivered"
    assert parsed["Date"].datetime == NOON + timedelta(seconds=1)
    assert parsed["Message-ID"].endswith("@mail.test.com>")
    assert parsed["Auto-Submitted"] == "auto-replied"
    assert parsed.get_content_type() == "multipart/report"
    assert parsed.get_param("report-type") == "delivery-status"
    kinds = [part.get_content_type() for part in parsed.iter_parts()]
    assert kinds == ["text/plain", "message/delivery-status", "text/rfc822-headers"]
    assert octets.isascii()


def test_people_can_read_it() -> None:
    """Who, when, what, in clear English."""
    _, parsed = written(report(delivered()))
    text = next(parsed.iter_parts()).get_content().replace("\r\n", "\n")

    assert "You sent a message on Mon, 04 May 2026 12:00:00 +0000." in text
    assert "It was put into the mailboxes of these addresses:\n\n    bob@test.com\n" in text


def test_programs_can_read_it() -> None:
    """What the sender gave to know the message again comes back as it was."""
    fate = delivered("rfc822;Bob@example.com")
    _, parsed = written(report(fate, identifier="QQ+314"))

    assert groups(list(parsed.iter_parts())[1]) == [
        {
            "Original-Envelope-Id": "QQ+314",
            "Reporting-MTA": "dns; mail.test.com",
            "Arrival-Date": "Mon, 04 May 2026 12:00:00 +0000",
        },
        {
            "Original-Recipient": "rfc822;Bob@example.com",
            "Final-Recipient": "rfc822; bob@test.com",
            "Action": "delivered",
            "Status": "2.0.0",
        },
    ]


def test_each_recipient_has_its_own_fate() -> None:
    """One report for all of them, trouble with its reason."""
    late = Fate(
        parse_address("eve@example.org"),
        Action.DELAYED,
        Status(4, 4, 1),
        remote="mx.example.org",
        diagnostic="451 4.3.0 later",
        retry_until=NOON + timedelta(days=5),
    )
    _, parsed = written(report(late, delivered()))

    assert parsed["Subject"] == "Your message is delayed"
    explanation, status, _ = parsed.iter_parts()
    assert "    eve@example.org\n        451 4.3.0 later\n" in explanation.get_content().replace(
        "\r\n", "\n"
    )
    _, first, second = groups(status)
    assert first["Remote-MTA"] == "dns; mx.example.org"
    assert first["Diagnostic-Code"] == "smtp; 451 4.3.0 later"
    assert first["Will-Retry-Until"] == "Sat, 09 May 2026 12:00:00 +0000"
    assert second["Action"] == "delivered"


@pytest.mark.parametrize("action", list(Action))
def test_every_action_has_words(action: Action) -> None:
    """Lines of the text are short."""
    octets, parsed = written(report(Fate(BOB, action, Status(2, 0, 0))))
    assert f"Action: {action}\r\n".encode() in octets
    assert parsed["Subject"]
    assert max(map(len, octets.split(b"\r\n"))) <= 100


def test_addresses_beyond_ascii() -> None:
    """RFC 6533: another media type and another address type."""
    octets, parsed = written(
        report(Fate(USER, Action.DELIVERED, Status(2, 0, 0)), header="To: 用户@x\r\n".encode())
    )

    kinds = [part.get_content_type() for part in parsed.iter_parts()]
    assert kinds == ["text/plain", "message/global-delivery-status", "message/global-headers"]
    assert f"Final-Recipient: utf-8; {USER}\r\n".encode() in octets
    assert octets.count(b"Content-Transfer-Encoding: 8bit\r\n") == 3


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        (HEADER, b"From: alice@test.com\r\nSubject: hello\r\n"),
        (b"A: b", b"A: b\r\n"),
        (b"A: b\r\n", b"A: b\r\n"),
        (b"A: b\r\n\r\n\r\nsecret", b"A: b\r\n"),
    ],
)
def test_only_the_header_comes_back(header: bytes, shown: bytes) -> None:
    """A report of success never holds the body; RFC 3461 section 4.3."""
    octets, _ = written(report(delivered(), header=header))
    assert b"\r\n\r\n" + shown + b"\r\n--" in octets
    assert b"secret" not in octets


def test_a_long_header_is_cut_between_lines() -> None:
    """Reports are small."""
    line = b"X: " + b"y" * 100 + b"\r\n"
    octets, _ = written(report(delivered(), header=line * 1000))
    assert LARGEST_QUOTE - 200 < octets.count(line) * len(line) <= LARGEST_QUOTE
    assert octets.count(b"yyy\r\n") == octets.count(line)
