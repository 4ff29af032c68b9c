"""What a conversation may hear instead of a line."""


class HungUp(Exception):
    """The client is gone."""


class TimedOut(Exception):
    """The client said nothing, or read nothing, for too long."""


class Stopping(Exception):
    """The service stops: say good-bye."""


START = 8
"""Octets of a bad line that are told: enough to know the verb."""


class BadLine(Exception):
    """
    The line cannot be a command; it was dropped, and nothing else.

    Args:
        start: How it begins.
    """

    def __init__(self, start: bytes) -> None:
        super().__init__(start)
        self.start = start


class LineTooLong(BadLine):
    """More octets than the limit before the end of the line."""


class BareLineFeed(BadLine):
    """The line ended in LF without CR."""
