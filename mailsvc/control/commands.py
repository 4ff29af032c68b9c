"""
The commands of the control channel, as both ends know them; TWISTED: AMP.

A value holds at most 65,535 octets, so lists come in pages. What a later version adds is
optional in arguments and answers: each end ignores what it does not know. What cannot be
added that way raises ``VERSION``.
"""

from twisted.protocols.amp import AmpList, Command, DateTime, Integer, ListOf, String, Unicode
from twisted.protocols.amp import Boolean as Truth

from mailsvc.errors import AlreadyThere, CommandError, NotFound, OperatorError

VERSION = 1
"""Ends of different versions refuse each other."""
FEATURES = ("status", "user", "service")
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


LISTENER = [
    (b"name", Unicode()),
    (b"kind", Unicode()),
    (b"service", Unicode()),
    (b"address", Unicode()),
    (b"port", Integer()),
    (b"running", Truth()),
    (b"sessions", Integer()),
    (b"tls", Unicode()),
]
"""``ListenerState``."""


class Status(ControlCommand):
    """``ServiceStatus``; the uptime is in microseconds."""

    response = [
        (b"version", Unicode()),
        (b"hostname", Unicode()),
        (b"pid", Integer()),
        (b"uptime", Integer()),
        (b"fault", Unicode(optional=True)),
        (b"engine", Unicode(optional=True)),
        (b"revision", Unicode(optional=True)),
        (b"domains", Integer(optional=True)),
        (b"accounts", Integer(optional=True)),
        (b"waiting", Integer()),
        (b"listeners", AmpList(LISTENER)),
    ]


class UserAdd(ControlCommand):
    """``NewUser`` in, ``NewLogin`` out."""

    arguments = [
        (b"address", Unicode()),
        (b"password", String(optional=True)),
        (b"display_name", Unicode(optional=True)),
        (b"role", Unicode(optional=True)),
        (b"quota_octets", Integer(optional=True)),
        (b"quota_messages", Integer(optional=True)),
    ]
    response = [(b"address", Unicode()), (b"password", Unicode(optional=True))]


ACCOUNT = [
    (b"id", Integer()),
    (b"address", Unicode()),
    (b"display_name", Unicode()),
    (b"role", Unicode()),
    (b"enabled", Truth()),
    (b"scopes", ListOf(Unicode())),
    (b"messages", Integer()),
    (b"octets", Integer()),
    (b"quota_octets", Integer(optional=True)),
    (b"quota_messages", Integer(optional=True)),
    (b"created", DateTime()),
    (b"last_login", DateTime(optional=True)),
    (b"keep_days", Integer(optional=True)),
]
"""``AccountSummary``."""


class UserList(ControlCommand):
    """``AccountPage``: fewer accounts than asked for where more would not fit into a value."""

    arguments = [(b"after", Unicode(optional=True)), (b"most", Integer(optional=True))]
    response = [(b"accounts", AmpList(ACCOUNT)), (b"next", Unicode(optional=True))]


class UserPassword(ControlCommand):
    """Without a password one is made at random; ``NewLogin`` out."""

    arguments = [(b"address", Unicode()), (b"password", String(optional=True))]
    response = [(b"address", Unicode()), (b"password", Unicode(optional=True))]


class UserKeep(ControlCommand):
    """Without days the inbox keeps its mail for ever; the whole address out."""

    arguments = [(b"address", Unicode()), (b"days", Integer(optional=True))]
    response = [(b"address", Unicode())]


class UserDelete(ControlCommand):
    """The account and all its mail; the whole address out."""

    arguments = [(b"address", Unicode())]
    response = [(b"address", Unicode())]


class ServiceStart(ControlCommand):
    """``smtp`` or ``pop3``."""

    arguments = [(b"service", Unicode())]


class ServiceStop(ControlCommand):
    """``smtp`` or ``pop3``."""

    arguments = [(b"service", Unicode())]
