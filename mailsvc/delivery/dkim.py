"""Sign mail that leaves; RFC 6376, with the keys of RFC 8463."""

import base64
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from mailsvc.config.units import KIB
from mailsvc.interfaces import IContent
from mailsvc.model.dkim import Algorithm, SigningKey
from mailsvc.model.headers import LARGEST_HEADER

_PIECE = 128 * KIB
_RSA_BITS = 2048
_EXPONENT = 65537
_LINE = 72
_CONTINUED = "\r\n\t "
_MUST_STAY = (b"from", b"to", b"cc", b"subject", b"date", b"message-id", b"reply-to")
"""Signed once more than they are there: nobody can add another; RFC 6376 section 8.15."""
_SIGNED = frozenset(
    (
        *_MUST_STAY,
        b"sender",
        b"in-reply-to",
        b"references",
        b"mime-version",
        b"content-type",
        b"content-transfer-encoding",
        b"content-disposition",
        b"auto-submitted",
        b"list-id",
        b"list-unsubscribe",
        b"list-unsubscribe-post",
    )
)
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n")
_SPACE = re.compile(rb"[ \t]+")
_SPACE_AT_END = re.compile(rb"[ \t]+(?=\r\n)")

PrivateKey = RSAPrivateKey | Ed25519PrivateKey


class BodyHash:
    """SHA-256 of a body in the canonical form ``relaxed``; RFC 6376 section 3.4.4."""

    def __init__(self) -> None:
        self._digest = sha256()
        self._rest = b""
        self._empty_lines = 0

    def feed(self, octets: bytes) -> None:
        """Take the next piece."""
        whole = self._rest + octets
        lines, line_end, self._rest = whole.rpartition(b"\r\n")
        if line_end:
            self._take(lines + line_end)

    def finish(self) -> bytes:
        """Give the digest; a last line without its end gets one."""
        if self._rest:
            self._take(self._rest + b"\r\n")
            self._rest = b""
        return self._digest.digest()

    def _take(self, lines: bytes) -> None:
        relaxed = _SPACE.sub(b" ", _SPACE_AT_END.sub(b"", lines))
        text = relaxed.rstrip(b"\r\n")
        empty = (len(relaxed) - len(text)) // 2
        if not text:
            self._empty_lines += empty
            return
        # Empty lines at the end do not count; those before more text do.
        self._digest.update(b"\r\n" * self._empty_lines + text + b"\r\n")
        self._empty_lines = empty - 1


def sign(keys: Sequence[SigningKey], added: bytes, content: IContent, moment: datetime) -> bytes:
    """
    Make a ``DKIM-Signature`` field for each key.

    Args:
        keys: Of one domain.
        added: Header fields that stand before the content when it leaves, and the empty line
            where the content has no header.
        content: As it arrived.
        moment: Of the signature, aware UTC.

    Returns:
        Whole fields; nothing, when the header is too large to be looked at.
    """
    head = added + content.head(LARGEST_HEADER)
    header, empty_line, _ = head.partition(b"\r\n\r\n")
    if not empty_line and len(head) < len(added) + content.octets:
        return b""
    if head.startswith(b"\r\n"):
        header, skip = b"", len(b"\r\n")
    else:
        skip = len(header + empty_line)
        header = header.removesuffix(b"\r\n") + b"\r\n"
    body = BodyHash()
    body.feed(added[skip:])
    skip = max(0, skip - len(added))
    for piece in content.pieces(_PIECE):
        body.feed(piece[skip:])
        skip = max(0, skip - len(piece))
    fields = _fields(header)
    digest = body.finish()
    return b"".join(_signature(one, fields, digest, moment) for one in keys)


def _fields(header: bytes) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in _FIELD.findall(header)]


def _signature(
    key: SigningKey, fields: Sequence[tuple[bytes, bytes]], digest: bytes, moment: datetime
) -> bytes:
    names = _names(fields)
    value = _unsigned(key, names, digest, moment)
    signed = b"".join(_relaxed(name, text) for name, text in _chosen(fields, names))
    # The field itself comes last, without its line end; RFC 6376 section 3.7.
    signed += _relaxed(b"dkim-signature", value.encode()).removesuffix(b"\r\n")
    proof = base64.b64encode(_proof(_load(key.private), signed)).decode()
    lines = [proof[start : start + _LINE] for start in range(0, len(proof), _LINE)]
    return f"DKIM-Signature:{value}{_CONTINUED.join(lines)}\r\n".encode()


def _unsigned(key: SigningKey, names: Sequence[bytes], digest: bytes, moment: datetime) -> str:
    listed = _folded(":".join(name.decode() for name in names))
    return (
        f" v=1; a={key.algorithm}-sha256; c=relaxed/relaxed;\r\n"
        f"\td={key.domain}; s={key.selector}; t={int(moment.timestamp())};\r\n"
        f"\th={listed};\r\n"
        f"\tbh={base64.b64encode(digest).decode()};\r\n"
        "\tb="
    )


def _folded(names: str) -> str:
    """Break a list at colons; RFC 6376 section 3.5 allows white space there."""
    lines, line = list[str](), ""
    for name in names.split(":"):
        if line and len(line) + len(name) > _LINE - 4:
            lines.append(line)
            line = ""
        line += f"{name}:"
    return "\r\n\t ".join([*lines, line]).removesuffix(":")


def _names(fields: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    there = [name for name, _ in fields if name in _SIGNED]
    return [*there, *_MUST_STAY]


def _chosen(
    fields: Sequence[tuple[bytes, bytes]], names: Iterable[bytes]
) -> Iterable[tuple[bytes, bytes]]:
    """Take fields from below, as often as they are named; RFC 6376 section 5.4.2."""
    left: dict[bytes, list[bytes]] = {}
    for name, text in fields:
        left.setdefault(name, []).append(text)
    for name in names:
        if left.get(name):
            yield name, left[name].pop()


def _relaxed(name: bytes, value: bytes) -> bytes:
    """Write a field in the canonical form ``relaxed``; RFC 6376 section 3.4.2."""
    return name + b":" + _SPACE.sub(b" ", value.replace(b"\r\n", b"")).strip() + b"\r\n"


def _proof(key: PrivateKey, octets: bytes) -> bytes:
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(sha256(octets).digest())  # RFC 8463 section 3
    return key.sign(octets, padding.PKCS1v15(), SHA256())


@lru_cache(maxsize=256)
def _load(private: str) -> PrivateKey:
    key = load_pem_private_key(private.encode(), None)
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise TypeError("this is no key for DKIM")
    return key


def make_key(algorithm: Algorithm) -> str:
    """Make a private key, PKCS8 in PEM; takes a second for RSA."""
    key: PrivateKey = (
        Ed25519PrivateKey.generate()
        if algorithm is Algorithm.ED25519
        else generate_private_key(_EXPONENT, _RSA_BITS)
    )
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_record(key: SigningKey) -> str:
    """Write what stands in DNS; RFC 6376 section 3.6.1."""
    public = _load(key.private).public_key()
    if key.algorithm is Algorithm.ED25519:
        octets = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    else:
        octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"v=DKIM1; k={key.algorithm}; p={base64.b64encode(octets).decode()}"
