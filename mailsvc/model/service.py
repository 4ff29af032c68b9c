"""The daemon as an administrator sees it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mailsvc.model.listener import ListenerState


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """
    How the daemon is.

    Args:
        version: Of mailsvc.
        uptime: Since its start.
        fault: Why the database does not answer; None: it does, and only then the next
            four are known.
        engine: Name and version of the database.
        revision: Of its schema.
        waiting: Writes that wait for their commit.
        listeners: In the order of config.yaml.
        pending: Accounts that wait for an administrator.
        queued: Recipients on other servers for whom mail waits, and of these
        held: those that an administrator holds.
        oldest: When the oldest of them was accepted, aware UTC; None: there is none.
        away: Servers that are left alone for a while, in one line each.
        remote: Where mailctl of other machines is answered; empty: nowhere.
        fingerprint: SHA-256 of the certificate there, hexadecimal digits with colons.
        writer: The process that commits deliveries; None: the daemon itself does.
    """

    version: str
    hostname: str
    pid: int
    uptime: timedelta
    fault: str | None
    engine: str | None
    revision: str | None
    domains: int | None
    accounts: int | None
    waiting: int
    listeners: tuple[ListenerState, ...]
    pending: int | None = None
    queued: int | None = None
    held: int | None = None
    oldest: datetime | None = None
    away: tuple[str, ...] = ()
    remote: str = ""
    fingerprint: str = ""
    writer: int | None = None
