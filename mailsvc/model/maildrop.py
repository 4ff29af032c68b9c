"""One POP3 session's picture of its maildrop; RFC 1939."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mailsvc.model.ids import AccountId, FolderId


@dataclass(frozen=True, slots=True)
class Lease:
    """
    The right of one session to be alone in a maildrop.

    Args:
        account: Whose maildrop.
        folder: Its inbox.
        token: Tells this session from every other.
    """

    account: AccountId
    folder: FolderId
    token: int


class Clearing(NamedTuple):
    """
    Messages that go for another reason than their reader's wish; the trail tells of it.

    Args:
        account: Whose they are.
        address: The address of the account.
        folder: Its inbox.
        uids: Which.
        why: The reason, for people.
    """

    account: AccountId
    address: str
    folder: FolderId
    uids: Sequence[int]
    why: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    What the maildrop held when the session began; three columns, one message a row.

    Columns instead of objects: a maildrop of 100,000 messages takes 2.4 MB.

    Args:
        lease: To be released at the end of the session.
        uidvalidity: With a uid it makes a UIDL that is never used again.
        uids: In order of arrival.
        messages: The number of each message's body.
        octets: The size of each message on the wire, before dot-stuffing.
    """

    lease: Lease
    uidvalidity: int
    uids: "array[int]"
    messages: "array[int]"
    octets: "array[int]"

    def __len__(self) -> int:
        """Count the messages."""
        return len(self.uids)

    def uidl(self, index: int) -> str:
        """Give the unique-id of the message at *index* from 0; RFC 1939 section 7."""
        return f"{self.uidvalidity:x}.{self.uids[index]:x}"
