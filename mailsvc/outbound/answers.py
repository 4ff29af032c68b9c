"""Replies of other servers, read strictly; RFC 5321 section 4.2."""

import re

from mailsvc.model.legible import legible
from mailsvc.model.outgoing import Answer
from mailsvc.model.status import Status
from mailsvc.wire.dialogue import Dialogue
from mailsvc.wire.interruptions import BadLine

MOST_LINES = 128
"""Of one reply; the longest that any server sends is that of EHLO."""
LONGEST_LINE = 4096
"""Octets; RFC 5321 section 4.5.3.1.5 allows 512, and some servers write more."""
_LINE = re.compile(rb"([2-5][0-5][0-9])(?:([ -])(.*))?", re.DOTALL)
_STATUS = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?: |$)")


class BadAnswer(Exception):
    """What the server says is no reply: nothing that follows can be believed."""


async def read_answer(dialogue: Dialogue, patience: float) -> Answer:
    """
    Wait for a whole reply.

    Args:
        dialogue: The connection.
        patience: Seconds for each of its lines.

    Raises:
        BadAnswer: It is none.
        HungUp, TimedOut, Stopping: There will be none.
    """
    lines: list[str] = []
    code = 0
    while len(lines) < MOST_LINES:
        try:
            line = await dialogue.line(patience)
        except BadLine as bad:
            raise BadAnswer(f"a line of its reply has no end: {bad.start!r}") from None
        match = _LINE.fullmatch(line)
        if match is None or (lines and int(match[1]) != code):
            raise BadAnswer(f"this is no reply: {line[:80]!r}")
        code = int(match[1])
        lines.append(legible(match[3] or b""))
        if match[2] != b"-":
            return Answer(code, tuple(lines))
    raise BadAnswer(f"its reply has more than {MOST_LINES} lines")


def status_of(answer: Answer, subject: int, detail: int) -> Status:
    """
    Give the enhanced status code of a reply; RFC 2034 section 4.

    Args:
        answer: The reply.
        subject: For one that has none, or one of another class than its code.
        detail: As *subject*.
    """
    kind = answer.code // 100
    match = _STATUS.match(answer.lines[0])
    if match is None or int(match[1]) != kind:
        return Status(kind, subject, detail)
    return Status(kind, int(match[2]), int(match[3]))
