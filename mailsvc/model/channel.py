"""What is known of the connection below a conversation: TLS, and what binds a login to it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

_NONE: Mapping[str, bytes] = MappingProxyType({})


class Channel(NamedTuple):
    """
    The connection that a client talks over.

    Args:
        secure: Whether it has TLS.
        cipher: By its IANA name; empty: no TLS.
        version: Of TLS; empty: no TLS.
        bindings: By kind: ``tls-exporter`` (RFC 9266) and ``tls-server-end-point`` (RFC 5929).
    """

    secure: bool
    cipher: str
    version: str
    bindings: Mapping[str, bytes]


PLAIN_TEXT = Channel(secure=False, cipher="", version="", bindings=_NONE)
"""No TLS."""
