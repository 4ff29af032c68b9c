"""
What all commands of the control channel have in common; TWISTED: AMP.

A value holds at most 65,535 octets, so lists come in pages. What a later version adds is
optional in arguments and answers: each end ignores what it does not know. What cannot be
added that way raises ``VERSION``.
"""

from twisted.protocols.amp import Command, Integer, ListOf, String, Unicode

from mailsvc.control.boxes import Arguments, Mailbox, Rows
from mailsvc.errors import AlreadyThere, CommandError, NotFound, OperatorError

VERSION = 1
"""Ends of different versions refuse each other."""
FEATURES = (
    "status",
    "user",
    "service",
    "domain",
    "alias",
    "export",
    "session",
    "broadcast",
    "log",
    "trail",
    "filter",
    "settings",
    "registration",
    "login",
    "queue",
    "dkim",
)
"""What this version can do; a later one may have more."""


class Misunderstood(CommandError):
    """The other end says what we cannot read."""


class WrongVersion(CommandError):
    """The other end is of another version."""


class Forbidden(CommandError):
    """The other end may not command this daemon."""


class Unavailable(CommandError):
    """The database does not take it now."""


class TookTooLong(OperatorError):
    """The command still runs; nobody waits for its answer."""


class Fault(OperatorError):
    """A bug of ours: the log has it."""


ERRORS: dict[type[Exception], bytes] = {
    AlreadyThere: b"ALREADY_THERE",
    CommandError: b"REFUSED",
    Fault: b"FAULT",
    Misunderstood: b"MISUNDERSTOOD",
    NotFound: b"NOT_FOUND",
    TookTooLong: b"TOOK_TOO_LONG",
    Unavailable: b"UNAVAILABLE",
}
"""Every command may fail with them; the most specific one is told."""
FATAL_ERRORS: dict[type[Exception], bytes] = {
    Forbidden: b"FORBIDDEN",
    WrongVersion: b"WRONG_VERSION",
}
"""Those that end the connection."""


class ControlCommand(Command):
    """What all commands have in common."""

    errors = ERRORS
    fatalErrors = FATAL_ERRORS


class Hello(ControlCommand):
    """The first command of each connection."""

    arguments = [(b"version", Integer()), (b"features", ListOf(Unicode(), optional=True))]
    response = [
        (b"version", Integer()),
        (b"features", ListOf(Unicode())),
        (b"mailsvc", Unicode()),
    ]


class LogIn(ControlCommand):
    """User name and password of an administrator in, the address of his account out."""

    arguments = [(b"username", Unicode()), (b"password", String())]
    response = [(b"address", Mailbox())]


class Next(ControlCommand):
    """What commands for a page of a list have in common."""

    arguments = [(b"after", Unicode(optional=True)), (b"most", Integer(optional=True))]


def page_of(row: type) -> Arguments:
    """Give the answer that carries a ``Page``; it has fewer rows where more would not fit."""
    return [(b"rows", Rows(row)), (b"next", Unicode(optional=True))]
