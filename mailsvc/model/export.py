"""One message of a mailbox, as an export lists it."""

from dataclasses import dataclass
from datetime import datetime

from mailsvc.model.ids import MessageId


@dataclass(frozen=True, slots=True)
class StoredMail:
    """
    One entry of a folder.

    Args:
        cursor: Where a page begins that starts behind it.
        folder: The name of its folder.
        octets: Of the message, trace fields included.
        received: Aware UTC.
        sender: The reverse-path; empty: null.
    """

    cursor: str
    folder: str
    message: MessageId
    octets: int
    received: datetime
    sender: str
