"""What binds a login to a TLS connection."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mailsvc.wire.channel import end_point_of


def certificate(key: Any, algorithm: Any) -> x509.Certificate:
    """Make one that is signed so."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test.com")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, algorithm)
    )


@pytest.mark.parametrize(
    ("algorithm", "digest"), [(hashes.SHA256(), "sha256"), (hashes.SHA384(), "sha384")]
)
def test_the_digest_is_that_of_the_signature(algorithm: Any, digest: str) -> None:
    """RFC 5929 section 4.1; so the client, which knows the certificate, finds the same."""
    made = certificate(ec.generate_private_key(ec.SECP256R1()), algorithm)

    expected = hashlib.new(digest, made.public_bytes(Encoding.DER)).digest()
    assert end_point_of(made) == expected


def test_a_signature_without_a_digest_has_no_binding() -> None:
    """Ed25519: RFC 5929 leaves it undefined, so nobody could agree on it."""
    assert end_point_of(certificate(ed25519.Ed25519PrivateKey.generate(), None)) == b""


def test_a_signature_that_nobody_knows_has_no_binding() -> None:
    """RSA with SHA-512/256: OpenSSL serves such a certificate, so it must not end the session."""
    made = certificate(rsa.generate_private_key(65537, 2048), hashes.SHA256())
    with_sha256, with_sha512_256 = (bytes.fromhex(f"2a864886f70d0101{end}") for end in ("0b", "10"))
    der = made.public_bytes(Encoding.DER).replace(with_sha256, with_sha512_256)

    assert end_point_of(x509.load_der_x509_certificate(der)) == b""


def test_broken_digests_are_not_used() -> None:
    """RFC 5929 section 4.1: SHA-256 in place of MD5 and SHA-1."""

    class Old:
        signature_hash_algorithm = hashes.SHA1()  # noqa: S303 - what an old certificate has

        def fingerprint(self, algorithm: hashes.HashAlgorithm) -> bytes:
            return algorithm.name.encode()

    old: Any = Old()

    assert end_point_of(old) == b"sha256"
