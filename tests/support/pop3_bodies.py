"""A maildrop and the bodies that are read from it, as a session has them."""

from collections.abc import Container, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailsvc.model.maildrop import Snapshot
from mailsvc.pop3.bodies import AheadRoom, Bodies
from mailsvc.pop3.replies import ok_message
from tests.support.pop3_maildrops import MemoryMaildrops, make_account

Result = TypeVar("Result")


def now(work: Coroutine[Deferred[Any], Any, Result]) -> Result:
    """Give what needs no waiting."""
    results: list[Any] = []
    _ = Deferred.fromCoroutine(work).addBoth(results.append)
    (result,) = results
    if hasattr(result, "raiseException"):
        result.raiseException()
    return result  # type: ignore[no-any-return]  # what the Deferred fired with


class Case:
    """A maildrop and its bodies."""

    def __init__(self, *contents: bytes, room: int = 10_000_000, inline: int = 64 * 1024) -> None:
        self.account = make_account(1)
        self.maildrops = MemoryMaildrops(Clock(), inline)
        self.maildrops.fill(self.account, *contents)
        self.room = AheadRoom(room)
        self.octets = room
        self.snapshot: Snapshot = now(self.maildrops.open(self.account, 60.0))
        self.bodies = Bodies(self.maildrops, self.snapshot, self.room)

    def whole(self, index: int, *unwanted: int) -> bytes | None:
        """Fetch one."""
        return now(self.bodies.whole(index, unwanted))

    def top(self, index: int, unwanted: Container[int] = ()) -> bytes | None:
        """Fetch one as TOP does."""
        return now(self.bodies.whole(index, unwanted, keep=True))

    def retr(self, index: int, unwanted: Container[int] = ()) -> bytes:
        """Fetch one as RETR does, and work ahead behind it."""
        reply = self.bodies.reply(index)
        if reply is None:
            body = now(self.bodies.whole(index, unwanted))
            assert body is not None
            reply = ok_message(self.snapshot.octets[index], body)
        self.bodies.look_ahead(unwanted)
        return reply


def reply_of(octets: int, text: bytes) -> bytes:
    """Write the reply to RETR of a message; *text* has its dots and its end."""
    return b"+OK %d octets\r\n%b" % (octets, text)
