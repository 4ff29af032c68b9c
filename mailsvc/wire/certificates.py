"""The certificates that we show: chosen by name, and renewed on disk without a restart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from zope.interface import implementer

from mailsvc.config.settings import CertificateSettings, TlsVersion
from mailsvc.errors import ConfigError
from mailsvc.wire.channel import CIPHERS

SOON = timedelta(days=14)
"""A certificate that ends within it should have been renewed."""
_DAY = timedelta(days=1)
_VERSIONS = {TlsVersion.TLS12: SSL.TLS1_2_VERSION, TlsVersion.TLS13: SSL.TLS1_3_VERSION}

_Mark = tuple[int, int, int] | None
"""What changes with a file: its time in nanoseconds, octets and inode; None: not to be seen."""


@dataclass(frozen=True)
class _Certificate:
    """One certificate that can be shown."""

    path: Path
    digest: bytes
    context: SSL.Context
    names: tuple[str, ...]
    ends: datetime


class _Shelf:
    """All certificates of one reading, by name; the first entry of config.yaml wins."""

    def __init__(self, found: Sequence[_Certificate]) -> None:
        self.found = found
        self._by_name: dict[str, SSL.Context] = {}
        for one in found:
            for name in one.names:
                self._by_name.setdefault(name, one.context)
            # On each: OpenSSL asks the context that was chosen when a client greets again.
            one.context.set_tlsext_servername_callback(self._choose)

    def connect(self) -> SSL.Connection:
        return SSL.Connection(self.found[0].context, None)

    def _choose(self, connection: SSL.Connection) -> None:
        """Choose by the name that the client asks for; RFC 6066 section 3."""
        name = (connection.get_servername() or b"").decode("ascii", "replace").lower()
        _, _, parent = name.partition(".")
        context = self._by_name.get(name) or self._by_name.get(f"*.{parent}")
        if context is not None:
            connection.set_context(context)


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """
    Makes the server's side of TLS connections; ``load`` comes first.

    Args:
        oldest: The oldest version that is spoken.
        now: Tells the time, aware UTC.
    """

    _log = Logger()

    def __init__(
        self, oldest: TlsVersion, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._oldest = oldest
        self._now = now
        self._files: Sequence[CertificateSettings] = ()
        self._marks: list[_Mark] = []
        self._shelf: _Shelf | None = None
        self._trouble = ""
        self._warned: datetime | None = None

    def load(self, files: Sequence[CertificateSettings]) -> None:
        """
        Read the certificates; the first one is for clients that ask for none of the names.

        Of those that end soon the first ``look`` tells: the log is open then.

        Args:
            files: At least one.

        Raises:
            ConfigError: One of them cannot be used.
        """
        marks = [_mark(path) for one in files for path in (one.certificate, one.key)]
        self._shelf = _Shelf([_read(one, self._oldest) for one in files])
        self._files, self._marks, self._trouble = files, marks, ""
        self._warned = None

    def prepare(
        self, files: Sequence[CertificateSettings], oldest: TlsVersion
    ) -> Callable[[], None]:
        """
        Read other certificates; they count when the answer is called.

        Raises:
            ConfigError: One of them cannot be used; nothing has changed.
        """
        other = Certificates(oldest, self._now)
        other.load(files)

        def use() -> None:
            self._oldest, self._shelf = oldest, other._shelf
            self._files, self._marks, self._trouble = files, other._marks, ""
            self._warned = None

        return use

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the first certificate, hexadecimal digits with colons; empty: none."""
        if self._shelf is None:
            return ""
        return self._shelf.found[0].digest.hex(":").upper()

    @property
    def files(self) -> Sequence[CertificateSettings]:
        """What was read last."""
        return self._files

    def look(self) -> None:
        """Read all files anew when one has changed; what cannot be used changes nothing."""
        marks = [_mark(path) for one in self._files for path in (one.certificate, one.key)]
        if marks != self._marks:
            self._renew()
        self._warn()

    def _renew(self) -> None:
        try:
            self.load(self._files)
        except Exception as error:  # noqa: BLE001 - whatever it is, the old ones still serve
            # The next look tries again: the files may be half written.
            if str(error) != self._trouble:
                self._trouble = str(error)
                self._log.error("the old certificates stay: {why}", why=self._trouble)
        else:
            self._log.info(
                "read renewed certificates: {files}",
                files=", ".join(str(one.certificate) for one in self._files),
            )

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """Make the server's side of one connection."""
        del protocol
        if self._shelf is None:
            raise RuntimeError("certificates are not loaded")
        return self._shelf.connect()

    def _warn(self) -> None:
        """Tell of certificates that end, once a day."""
        now = self._now()
        if self._shelf is None or (self._warned is not None and now - self._warned < _DAY):
            return
        for one in self._shelf.found:
            if one.ends - now < SOON:
                self._warned = now
                self._log.warn(
                    "the certificate {path} {ends} on {when}: {cure}",
                    path=str(one.path),
                    ends="has ended" if one.ends <= now else "ends",
                    when=f"{one.ends:%Y-%m-%d %H:%M} UTC",
                    # What stands in the way of the next one was told once, perhaps long ago.
                    cure=self._trouble or "renew it",
                )


def _mark(path: Path) -> _Mark:
    try:
        seen = path.stat()
    except OSError:
        return None
    return (seen.st_mtime_ns, seen.st_size, seen.st_ino)


def _read(files: CertificateSettings, oldest: TlsVersion) -> _Certificate:
    chain, key = _read_chain(files.certificate), _read_key(files.key)
    if chain[0].public_key() != key.public_key():
        raise ConfigError(
            f"{files.key}: this is not the key of {files.certificate}; name two files that "
            "belong together, the server's own certificate first in its file"
        )
    try:
        context = _make_context(chain, key, oldest)
    except (SSL.Error, ValueError, TypeError) as error:
        raise ConfigError(
            f"{files.certificate}: TLS cannot use it ({tls_reason(error)}); "
            "get another certificate, or change tls.certificates in config.yaml"
        ) from None
    leaf = chain[0]
    digest = leaf.fingerprint(SHA256())
    return _Certificate(files.certificate, digest, context, _names(leaf), leaf.not_valid_after_utc)


def _read_chain(path: Path) -> list[x509.Certificate]:
    octets = _read_file(path)
    try:
        return x509.load_pem_x509_certificates(octets)
    except ValueError:
        raise ConfigError(
            f"{path}: there is no certificate in it; name a PEM file in tls.certificates"
        ) from None


def _read_key(path: Path) -> Any:
    octets = _read_file(path)
    try:
        return load_pem_private_key(octets, password=None)
    except TypeError:
        raise ConfigError(
            f"{path}: the key has a password; take it off: openssl pkey -in {path} -out new.pem"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(
            f"{path}: there is no private key in it; name a PEM file in tls.certificates"
        ) from None


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); "
            "put it there and let mailsvc read it, or change tls.certificates in config.yaml"
        ) from None


def _make_context(chain: Sequence[x509.Certificate], key: Any, oldest: TlsVersion) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(_VERSIONS[oldest])
    context.set_cipher_list(":".join(CIPHERS).encode())
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    # Clients without AES in hardware prefer ChaCha20, and know it best themselves. Tickets
    # resume sessions; a cache would only grow. Idle connections need no buffers.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.use_certificate(chain[0])
    for one in chain[1:]:
        context.add_extra_chain_cert(one)
    context.use_privatekey(key)
    return context


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Give its names in lower case; an old one has only a CN."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = found.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = [
            str(one.value)
            for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        ]
    return tuple(name.lower() for name in names)


def tls_reason(error: BaseException) -> str:
    """Tell what OpenSSL says, in its last words."""
    last: Any = error.args[0] if error.args else ""
    if isinstance(last, list | tuple) and last:
        last = last[-1]
    if isinstance(last, list | tuple) and last:
        last = last[-1]
    return str(last) or type(error).__name__
