"""A certificate for trying out, made on the first start when config.yaml names none."""

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import idna
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mailsvc.config.settings import CertificateSettings
from mailsvc.errors import StartError

_LIFETIME = timedelta(days=3652)
_LONGEST_COMMON_NAME = 64
"""Characters; RFC 5280 appendix A.1."""


def self_signed(folder: Path, hostname: str) -> CertificateSettings:
    """
    Find our own certificate, or make one.

    Args:
        folder: Gets ``certificate.pem`` and ``key.pem``; made with mode 700.
        hostname: Our name.

    Raises:
        StartError: It cannot be written.
    """
    files = CertificateSettings(certificate=folder / "certificate.pem", key=folder / "key.pem")
    if files.certificate.exists() and files.key.exists():
        return files
    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    shown = _make(key, _ascii(hostname)).public_bytes(Encoding.PEM)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        _write(files.key, secret)
        _write(files.certificate, shown)
    except OSError as error:
        raise StartError(
            f"{folder}: no certificate can be made there ({error.strerror}); make room or mend "
            "the folder, or name files of your own in tls.certificates in config.yaml"
        ) from None
    return files


def _ascii(hostname: str) -> str:
    """Write a name as certificates do."""
    return hostname if hostname.isascii() else idna.encode(hostname, uts46=True).decode()


def _make(key: ec.EllipticCurvePrivateKey, hostname: str) -> x509.Certificate:
    now = datetime.now(UTC)
    common_name = x509.NameAttribute(NameOID.COMMON_NAME, hostname[:_LONGEST_COMMON_NAME])
    name = x509.Name([common_name])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # Clocks differ.
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(_names(hostname)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )


def _names(hostname: str) -> list[x509.GeneralName]:
    hosts = dict.fromkeys((hostname, "localhost"))
    addresses = (ip_address("127.0.0.1"), ip_address("::1"))
    return [*(x509.DNSName(one) for one in hosts), *(x509.IPAddress(one) for one in addresses)]


def _write(path: Path, octets: bytes) -> None:
    """Write a file that is there whole or not at all, and that we alone may read."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
