"""Messages in the mbox format, as most mail programs read it; RFC 4155."""

import re
from datetime import datetime

_FROM = re.compile(rb"^(>*From )", re.MULTILINE)


def mbox_entry(content: bytes, sender: str, received: datetime) -> bytes:
    """
    Write one message with the line that begins it; lines like that inside get a ``>``.

    Args:
        content: With CRLF.
        sender: The reverse-path; empty: null.
        received: Aware UTC.
    """
    who = "".join(sender.split()) or "MAILER-DAEMON"
    line = f"From {who} {received.strftime('%a %b %e %H:%M:%S %Y')}\n"
    text = _FROM.sub(rb">\1", content.replace(b"\r\n", b"\n"))
    return line.encode() + text + (b"\n" if text.endswith(b"\n") else b"\n\n")
