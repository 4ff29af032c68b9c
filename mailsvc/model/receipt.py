"""What became of a message that was handed in."""

from typing import NamedTuple

from mailsvc.model.ids import MessageId


class Receipt(NamedTuple):
    """
    Proof that a message is stored: its transaction is committed.

    Args:
        message: Its number, also in the ``id`` clause of Received.
        octets: Its size on the wire, trace fields included.
    """

    message: MessageId
    octets: int

    @property
    def queue_id(self) -> str:
        """The number as people quote it from replies and logs."""
        return queue_id(self.message)


def queue_id(message: MessageId) -> str:
    """Write a message's number as in Received and in replies: hexadecimal."""
    return f"{message:016x}"
