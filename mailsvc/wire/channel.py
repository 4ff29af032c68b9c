"""What a finished TLS handshake says of its connection."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL

from mailsvc.model.channel import Channel

CIPHERS = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384": "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "ECDHE-RSA-CHACHA20-POLY1305": "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}
"""Those of TLS 1.2 that we speak, from OpenSSL's name to IANA's; RFC 9325 section 4.2."""

_EXPORTER = b"EXPORTER-Channel-Binding"
_EXPORTED = 32
"""Octets; RFC 9266 section 4.2."""
_BROKEN = (hashes.MD5, hashes.SHA1)


def channel_of(connection: SSL.Connection) -> Channel:
    """Tell what the handshake of a connection has agreed on."""
    cipher = connection.get_cipher_name() or ""
    version = connection.get_protocol_version_name()
    bindings = {}
    certificate = connection.get_certificate(as_cryptography=True)
    end_point = b"" if certificate is None else end_point_of(certificate)
    if end_point:
        bindings["tls-server-end-point"] = end_point
    if version == "TLSv1.3":
        # RFC 9266 section 4.2: older versions would need the extended master secret.
        bindings["tls-exporter"] = connection.export_keying_material(_EXPORTER, _EXPORTED, b"")
    return Channel(True, CIPHERS.get(cipher, cipher), version, bindings)


def end_point_of(certificate: x509.Certificate) -> bytes:
    """
    Digest a certificate as the channel binding ``tls-server-end-point``; RFC 5929 section 4.1.

    Returns:
        Nothing where the RFC defines none: the signature has no hash of its own, or one that
        is not known here.
    """
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return b""
    if algorithm is None:
        return b""
    if isinstance(algorithm, _BROKEN):
        algorithm = hashes.SHA256()
    return certificate.fingerprint(algorithm)
