"""
Make messages that prove by themselves that they arrived whole.

A message is told entirely by its token, which stands in its Subject, its
Message-ID and its last line: who finds a token can make the message again and
compare every octet.
"""

import re
from functools import lru_cache

from bench.errors import Damaged

DOMAIN = "test.com"
SENDER = "bench@sender.example"
USERS = 100

_TOKEN = re.compile(rb"^Message-ID: <([0-9a-z.]+)@bench\.example>\r?$", re.MULTILINE)
_HEAD = (
    b"From: Bench <bench@sender.example>\r\n"
    b"To: Users <users@test.com>\r\n"
    b"Date: Mon, 24 Nov 2025 09:00:00 +0000\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=us-ascii\r\n"
    b"Subject: message "
)
_LINES = (
    b"The quick brown fox jumps over the lazy dog, and the dog does not mind.\r\n"
    b"A line of a letter is seldom longer than this one, and often shorter.\r\n"
    b".A dot at the start of a line has to be doubled on the wire.\r\n"
    b"\r\n"
)


def address(user: int) -> str:
    """Name the mailbox of one of the users, counted from 0."""
    return f"u{user}@{DOMAIN}"


def token(prefix: str, index: int, octets: int) -> bytes:
    """Name one message; *prefix* is unlike that of every other load."""
    return b"%s.%08d.%d" % (prefix.encode(), index, octets)


def content(name: bytes) -> bytes:
    """Make the message of a token, in as many octets as the token says."""
    head, subject, body, end = _parts(len(name), int(name.rpartition(b".")[2]))
    return b"".join((head, name, subject, name, body, name, end))


def wire_content(name: bytes) -> bytes:
    """Make the message as it follows 354: dots doubled, final dot; RFC 5321 section 4.5.2."""
    head, subject, body, end = _wire_parts(len(name), int(name.rpartition(b".")[2]))
    return b"".join((head, name, subject, name, body, name, end))


def check(received: bytes) -> bytes:
    """
    Compare what a mailbox holds with what was sent.

    Args:
        received: With the trace fields of its server on top; lines may end in
            CRLF or, as in a Maildir, in LF.

    Returns:
        The token.

    Raises:
        Damaged: It has no token, or not the content of its token.
    """
    found = _TOKEN.search(received)
    if found is None:
        raise Damaged(f"A message without a token: {received[:200]!r}")
    expected = content(found[1])
    if b"\r\n" not in received:
        expected = expected.replace(b"\r\n", b"\n")
    if not received.endswith(expected):
        raise Damaged(f"The message {found[1].decode()} came back damaged")
    return found[1]


@lru_cache
def _parts(token_octets: int, octets: int) -> tuple[bytes, bytes, bytes, bytes]:
    subject = b"\r\nMessage-ID: <"
    start = b"@bench.example>\r\n\r\n"
    last = b"End of message "
    fixed = len(_HEAD) + len(subject) + len(start) + len(last) + 3 * token_octets + 2
    if octets < fixed + 2:
        raise ValueError(f"A message has {fixed + 2} octets at least")
    whole, rest = divmod(octets - fixed, len(_LINES))
    # Two octets of the rest end its line; a rest of one octet takes back a whole block.
    if rest == 1:
        whole, rest = whole - 1, rest + len(_LINES)
    padding = b"x" * (rest - 2) + b"\r\n" if rest else b""
    return _HEAD, subject, start + _LINES * whole + padding + last, b"\r\n"


@lru_cache
def _wire_parts(token_octets: int, octets: int) -> tuple[bytes, bytes, bytes, bytes]:
    head, subject, body, end = _parts(token_octets, octets)
    return head, subject, body.replace(b"\r\n.", b"\r\n.."), end + b".\r\n"
