"""The daemon as an administrator sees it."""

from dataclasses import dataclass
from datetime import timedelta

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
        remote: Where mailctl of other machines is answered; empty: nowhere.
        fingerprint: SHA-256 of the certificate there, hexadecimal digits with colons.
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
    remote: str = ""
    fingerprint: str = ""
