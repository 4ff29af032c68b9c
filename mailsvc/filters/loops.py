"""The filter ``loops``: end messages that go round in a circle."""

from dataclasses import dataclass

from zope.interface import implementer

from mailsvc.interfaces import IFilter, Incoming
from mailsvc.model.status import Status
from mailsvc.model.verdict import PASS, Verdict, reject


@implementer(IFilter)
@dataclass(frozen=True, kw_only=True)
class RefuseLoops:
    """
    Refuse a message with too many trace fields; RFC 5321 section 6.3.

    Args:
        most_hops: ``Received`` fields that are allowed.
    """

    most_hops: int = 100

    async def judge(self, mail: Incoming) -> Verdict:
        """Count ``Received`` fields."""
        if mail.headers.count(b"received") > self.most_hops:
            return reject(Status(5, 4, 6), "This message is going round in a circle")
        return PASS


make = RefuseLoops
