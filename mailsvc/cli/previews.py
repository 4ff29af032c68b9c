"""Show a message to somebody who is about to send it."""

from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

_SHOWN = ("From", "To", "Subject")
_NO_TEXT = "(no text)"


def preview_lines(message: bytes, most: int) -> Iterator[str]:
    """Give the fields that people look at, and the first *most* lines of the text."""
    read = message_from_bytes(message, _class=EmailMessage, policy=default)
    for name in _SHOWN:
        if read[name] is not None:
            yield f"{name}: {read[name]}"
    for part in read.iter_attachments():
        yield f"Attachment: {part.get_filename() or part.get_content_type()}"
    yield ""
    lines = _text(read).splitlines() or [_NO_TEXT]
    yield from lines[:most]
    if len(lines) > most:
        yield f"... {len(lines) - most} more lines"


def _text(read: EmailMessage) -> str:
    body = read.get_body(("plain", "html"))
    try:
        return "" if body is None else str(body.get_content())
    except (LookupError, ValueError, KeyError):
        return ""
