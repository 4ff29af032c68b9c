"""Open connections as an administrator sees them."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from itertools import count
from typing import NamedTuple

from mailsvc.model.account import Account
from mailsvc.model.envelope import Client

session_numbers = count(1)
"""Gives each connection of this process a number, whatever its protocol."""


class Ending(StrEnum):
    """Why we end a session that its client would go on with."""

    STOPPING = "the service stops"
    KILLED = "an administrator ended it"
    LOCKED_OUT = "its login is no longer good"


class Visit(NamedTuple):
    """
    A connection as its front end knows it.

    Args:
        number: Names it, as long as the daemon runs.
        client: Who is there; None: it is not known yet, before a PROXY header or TLS.
        account: Who has logged in, as it was then; None: nobody has.
        secure: Whether it has TLS.
        began: When, in seconds of the reactor.
    """

    number: int
    client: Client | None
    account: Account | None
    secure: bool
    began: float


@dataclass(frozen=True, slots=True)
class SessionState:
    """
    One open session of this daemon.

    Args:
        number: Names it, as long as the daemon runs.
        listener: The key of its listener in config.yaml.
        service: ``smtp`` or ``pop3``.
        client: The IP address of its client; empty: not known yet.
        port: The client's.
        user: The address of the account that has logged in; empty: nobody has.
        secure: Whether it has TLS.
        age: How long it has been open.
    """

    number: int
    listener: str
    service: str
    client: str
    port: int
    user: str
    secure: bool
    age: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFilter:
    """
    Which sessions; what is empty does not matter, and all of the rest must hold.

    Args:
        numbers: One of them.
        user: As typed: the account that has logged in.
        network: An IP address or a network in CIDR notation that holds the client.
        listener: The key of the listener, or ``smtp`` or ``pop3``.
    """

    numbers: tuple[int, ...] = ()
    user: str = ""
    network: str = ""
    listener: str = ""


EVERY_SESSION = SessionFilter()
