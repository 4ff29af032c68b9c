"""Certificates for tests, as an authority of our own gives them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from mailsvc.config.settings import CertificateSettings


def make_certificate(
    folder: Path,
    *names: str,
    days: int = 90,
    file: str = "",
    common_name: str | None = None,
    weak: bool = False,
    password: bytes = b"",
) -> CertificateSettings:
    """
    Write a self-signed certificate and its key, over those that are there.

    Args:
        folder: Gets both files.
        names: Of the server; none: it has only its CN.
        days: From now to its end.
        file: The start of the file names; empty: the first name.
        common_name: Its CN; None: the first name.
        weak: With a key that is too short for TLS.
        password: Of the key; empty: none.
    """
    key = (
        rsa.generate_private_key(65537, 1024)  # noqa: S505 - weak is what it is for
        if weak
        else ec.generate_private_key(ec.SECP256R1())
    )
    now = datetime.now(UTC)
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name or names[0])])
    builder = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=100))
        .not_valid_after(now + timedelta(days=days))
    )
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    start = file or (common_name or names[0]).replace("*", "any")
    files = CertificateSettings(
        certificate=folder / f"{start}.crt.pem", key=folder / f"{start}.key.pem"
    )
    files.certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    lock = BestAvailableEncryption(password) if password else NoEncryption()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)
    files.key.write_bytes(secret)
    return files


def serial_of(path: Path) -> int:
    """Give the serial number of a certificate in a PEM file."""
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number
