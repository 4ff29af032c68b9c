"""A SCRAM-SHA-256 client of our own; RFC 5802, straight from the text."""

import hashlib
import hmac
from base64 import b64decode, b64encode
from dataclasses import dataclass


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()


@dataclass
class ScramClient:
    """
    One login.

    Args:
        name: Who, as it is.
        password: Prepared already.
        nonce: The client's.
        header: ``gs2-header``.
        bound: The channel binding data; empty: none.
    """

    name: str
    password: bytes
    nonce: str = "rOprNGfwEbeRWgbNEkqO"
    header: str = "n,,"
    bound: bytes = b""
    server_final: bytes = b""
    """What the server must prove itself with."""

    @property
    def first(self) -> bytes:
        """The first message."""
        return (self.header + self._bare).encode()

    @property
    def _bare(self) -> str:
        name = self.name.replace("=", "=3D").replace(",", "=2C")
        return f"n={name},r={self.nonce}"

    def final(self, server_first: bytes) -> bytes:
        """Answer the server's first message with the proof."""
        parts = dict(part.split("=", 1) for part in server_first.decode().split(","))
        assert parts["r"].startswith(self.nonce)
        assert len(parts["r"]) > len(self.nonce)
        salt, rounds = b64decode(parts["s"]), int(parts["i"])
        salted = hashlib.pbkdf2_hmac("sha256", self.password, salt, rounds)
        binding = b64encode(self.header.encode() + self.bound).decode()
        bare = f"c={binding},r={parts['r']}"
        said = b",".join((self._bare.encode(), server_first, bare.encode()))
        key = _hmac(salted, b"Client Key")
        signature = _hmac(hashlib.sha256(key).digest(), said)
        proof = bytes(one ^ other for one, other in zip(key, signature, strict=True))
        server = _hmac(_hmac(salted, b"Server Key"), said)
        self.server_final = b"v=" + b64encode(server)
        return f"{bare},p={b64encode(proof).decode()}".encode()
