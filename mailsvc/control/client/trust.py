"""Which daemon on another machine is believed to be the right one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from zope.interface import implementer

from mailsvc.errors import ConfigError

PORT = 7025
"""Where a daemon answers when nobody says otherwise."""
_LAST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Remote:
    """
    A daemon on another machine.

    Args:
        host: Its name or address.
        port: Of its control channel.
        ca: PEM file of authorities that are trusted for it; None: those of this system.
        fingerprint: SHA-256 of its certificate, hexadecimal digits with or without colons;
            goes before all authorities. Empty: they decide.
    """

    host: str
    port: int = PORT
    ca: Path | None = None
    fingerprint: str = ""

    def __str__(self) -> str:
        """Write it as it is typed."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_place(text: str, ca: Path | None = None, fingerprint: str = "") -> Remote:
    """
    Read where a daemon is: ``mail.test.com``, ``192.0.2.1:7025``, ``[2001:db8::1]:7025``.

    Raises:
        ConfigError: That is no place.
    """
    host, colon, port = text.rpartition(":")
    bare = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not colon or bare:
        host, port = text, str(PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= _LAST_PORT):
        raise ConfigError(f"{text!r} is no place of a daemon: write mail.test.com:{PORT}")
    return Remote(host, int(port), ca, fingerprint)


def trust(place: Remote) -> IOpenSSLClientConnectionCreator:
    """
    Make what checks the certificate of a daemon.

    Raises:
        ConfigError: The file of authorities cannot be used, or the fingerprint is none.
    """
    if place.fingerprint:
        return _Pinned(_digest(place.fingerprint))
    roots = platformTrust() if place.ca is None else _authorities(place.ca)
    options: IOpenSSLClientConnectionCreator = optionsForClientTLS(place.host, trustRoot=roots)
    return options


def _authorities(path: Path) -> Any:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: no certificates can be read from it: {error}") from None
    return trustRootFromCertificates(
        [Certificate.loadPEM(one.public_bytes(Encoding.PEM)) for one in found]
    )


def _digest(fingerprint: str) -> str:
    plain = fingerprint.lower().removeprefix("sha256:").replace(":", "").strip()
    if len(plain) != 64 or not all(one in "0123456789abcdef" for one in plain):  # noqa: PLR2004 - SHA-256
        raise ConfigError(
            f"{fingerprint!r} is no fingerprint: SHA-256 has 64 hexadecimal digits; on the"
            ' server "mailctl status" shows it'
        )
    return plain


@implementer(IOpenSSLClientConnectionCreator)
class _Pinned:
    """Believes one certificate, whoever has signed it."""

    def __init__(self, digest: str) -> None:
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)

        def check(_: SSL.Connection, shown: Any, _error: int, depth: int, _ok: int) -> bool:
            seen = shown.digest("sha256").decode().replace(":", "").lower()
            return depth > 0 or seen == digest

        self._context.set_verify(SSL.VERIFY_PEER, check)

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:  # noqa: N803 - Twisted's
        """Make the client's side of one connection."""
        del tlsProtocol
        return SSL.Connection(self._context, None)
