"""What passes between a front end and the way a client logs in; RFC 4422 section 3."""

from collections.abc import Callable
from typing import Any, NamedTuple

LONGEST_PASSWORD = 1024
"""Octets of a password."""


class Challenge(NamedTuple):
    """
    The client must answer once more.

    Args:
        octets: What to send it; may be empty. The front end puts it into base64.
    """

    octets: bytes


class LoggedIn(NamedTuple):
    """
    The client is who it says it is, and may come in.

    Args:
        avatar: Provides the interface that the front end asked for.
        logout: To call when the session ends.
    """

    avatar: Any
    logout: Callable[[], None]
