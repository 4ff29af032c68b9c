"""What an administrator sees of one listener."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ListenerState:
    """
    One listener as it is now.

    Args:
        name: Its key in config.yaml.
        kind: ``smtp``, ``submission`` or ``pop3``.
        service: The service it belongs to: ``smtp`` or ``pop3``.
        address: Where it listens.
        port: Its port; the real one where config.yaml says 0.
        running: Whether it takes connections.
        sessions: How many are open.
        tls: ``none``, ``starttls`` or ``implicit``.
        until: When that turns by itself, aware UTC; None: it stays.
    """

    name: str
    kind: str
    service: str
    address: str
    port: int
    running: bool
    sessions: int
    tls: str = "none"
    until: datetime | None = None
