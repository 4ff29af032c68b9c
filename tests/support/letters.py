"""A letter with everything that is hard to carry, and how to know it again."""

from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

SUBJECT = "早上好,世界:一封测试邮件"
ATTACHMENT = bytes(range(256)) * 40
_TEXT = "Grüße aus 北京\n.\n.. two dots\n\nFrom here on: the end.   \n"


def letter(sender: str, recipient: str) -> bytes:
    """Make a message with a Chinese subject, lines of dots and a binary attachment."""
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = f"Alice <{sender}>"
    message["To"] = recipient
    message["Subject"] = SUBJECT
    message["Date"] = datetime(2026, 5, 4, tzinfo=UTC)
    message["Message-ID"] = "<letter@example.com>"
    message.set_content(_TEXT)
    message.add_attachment(
        ATTACHMENT, maintype="application", subtype="octet-stream", filename="附件.bin"
    )
    return message.as_bytes()


def check_letter(collected: bytes, sent: bytes) -> None:
    """
    Compare a message that was collected with what was sent.

    Raises:
        AssertionError: An octet differs below the trace fields, or they are not ours.
    """
    trace = collected.removesuffix(sent)
    assert trace != collected, f"not as it was sent:\n{collected[:2000]!r}"
    fields = trace.replace(b"\r\n\t", b" ").split(b"\r\n")
    assert [field.partition(b":")[0] for field in fields] == [b"Return-Path", b"Received", b""]
    check_parts(collected)


def check_parts(collected: bytes) -> None:
    """
    Read a message as the user's program does.

    Raises:
        AssertionError: Subject or attachment is not the one of the letter.
    """
    parsed = BytesParser(policy=policy.default).parsebytes(collected)
    assert parsed["Subject"] == SUBJECT
    assert [part.get_content() for part in parsed.iter_attachments()] == [ATTACHMENT]
