"""What an owner reads whose mailbox is nearly full."""

from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from mailsvc.delivery.notices import write_notice
from mailsvc.model.address import parse_address
from mailsvc.model.quota import QuotaNotice, Usage

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def read(language: str, **changes: int | None) -> EmailMessage:
    """Write a notice and read it as a mail program does."""
    limits = {"quota_octets": 1 << 20, "quota_messages": None, **changes}
    notice = QuotaNotice(
        owner=parse_address("用户@例子.测试", utf8=True),
        language=language,
        share=80,
        usage=Usage(900 << 10, 12),
        now=NOON,
        **limits,
    )
    content = write_notice("mail.test.com", notice)
    whole = b"".join(content.pieces(1000))
    assert b"\n" not in whole.replace(b"\r\n", b"")
    assert max(map(len, whole.split(b"\r\n"))) < 200
    message = message_from_bytes(whole, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_it_tells_what_is_used_and_what_to_do() -> None:
    """In English unless the owner has chosen."""
    for language in ("", "en", "en-GB", "fr"):
        message = read(language)

        assert message["Subject"] == "Your mailbox is 80 % full"
        text = message.get_content()
        assert "900.0 KiB of 1.0 MiB" in text
        assert "12 of unlimited messages" in text
        assert "用户@例子.测试" in text


@pytest.mark.parametrize("language", ["zh", "zh-CN", "ZH"])
def test_it_is_in_the_owners_language(language: str) -> None:
    """Chinese, also in the subject."""
    message = read(language, quota_messages=15)

    assert message["Subject"] == "您的邮箱已使用 80 %"
    assert message["Content-Language"] == "zh"
    text = message.get_content()
    assert "12 封邮件" in text
    assert "15 封" in text


def test_no_program_answers_it() -> None:
    """RFC 3834 section 5: it says that nobody wrote it."""
    message = read("en")

    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime == NOON
    assert message["Message-ID"].endswith("@mail.test.com>")
