"""Write the message of an administrator."""

import sys
from email.headerregistry import Group
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

from mailsvc.errors import CommandError


def read_file(path: str) -> bytes:
    """
    Read a file, or standard input for "-".

    Raises:
        CommandError: It cannot be read.
    """
    try:
        if path == "-":
            return sys.stdin.buffer.read()
        return Path(path).read_bytes()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None


def write_letter(sender: str, subject: str, text: bytes) -> bytes:
    """
    Write a message of plain text; recipients do not see each other.

    Raises:
        CommandError: The text is not UTF-8, or the subject has more than one line.
    """
    try:
        body = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandError(f"the text is not UTF-8 (octet {error.start}); convert it") from None
    letter = EmailMessage(policy=SMTP)
    try:
        letter["Subject"] = subject
    except ValueError:
        raise CommandError("a subject has one line") from None
    letter["To"] = Group("undisclosed-recipients")
    letter.set_content(body)
    # Written by hand: the library knows no domains in UTF-8.
    return f"From: {sender}\r\n".encode() + letter.as_bytes()
