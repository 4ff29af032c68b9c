"""SCRAM-SHA-256 as a server speaks it, without any input or output; RFC 5802, RFC 7677."""

import hmac
import re
import secrets
from base64 import b64encode
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import pbkdf2_hmac, sha256
from typing import NamedTuple

from mailsvc.auth.saslprep import prepare_octets
from mailsvc.errors import BadResponse, ChannelBindingFailed

SALT_OCTETS = 16
_SCHEME = "SCRAM-SHA-256"
_HASH = "sha256"

_VALUE = "[^\0,=]|=2C|=3D"
_NONCE = r"[!-+\x2d-~]+"  # printable ASCII but the comma
_BASE64 = "[A-Za-z0-9+/]*={0,2}"
_FIRST = re.compile(
    r"(?P<header>(?:n|y|p=(?P<binding>[A-Za-z0-9.-]+)),"
    rf"(?:a=(?P<authzid>(?:{_VALUE})+))?,)"
    rf"(?P<bare>(?P<reserved>m=[^\0,]+,)?n=(?P<name>(?:{_VALUE})+),r=(?P<nonce>{_NONCE})"
    r"(?:,[A-Za-z]=[^\0,]+)*)"
)
_FINAL = re.compile(
    rf"(?P<bare>c=(?P<binding>{_BASE64}),r=(?P<nonce>{_NONCE})(?:,[A-Za-oq-z]=[^\0,]+)*)"
    rf",p=(?P<proof>{_BASE64})"
)
_KEYS = re.compile(rf"{_SCHEME}\$([1-9][0-9]{{0,8}}):({_BASE64})\$({_BASE64}):({_BASE64})")


class ScramKeys(NamedTuple):
    """
    What a server keeps of a password; RFC 5802 section 3.

    Args:
        iterations: Rounds of PBKDF2.
        salt: Of this password.
        stored: StoredKey, which proves a client.
        server: ServerKey, which proves us.
    """

    iterations: int
    salt: bytes
    stored: bytes
    server: bytes


def make_keys(password: bytes, iterations: int, salt: bytes | None = None) -> ScramKeys:
    """Make the keys of a password; blocks for some 30 ms; None: a new salt."""
    salt = secrets.token_bytes(SALT_OCTETS) if salt is None else salt
    salted = pbkdf2_hmac(_HASH, prepare_octets(password), salt, iterations)
    client = hmac.digest(salted, b"Client Key", _HASH)
    server = hmac.digest(salted, b"Server Key", _HASH)
    return ScramKeys(iterations, salt, sha256(client).digest(), server)


def fake_keys(name: bytes, iterations: int, secret: bytes) -> ScramKeys:
    """
    Make keys for a user without any: always the same, and no password fits.

    Args:
        name: Who.
        iterations: As real keys have.
        secret: Known to us only.
    """

    def part(use: bytes) -> bytes:
        return hmac.digest(secret, use + b"\0" + name, _HASH)

    return ScramKeys(iterations, part(b"salt")[:SALT_OCTETS], part(b"stored"), part(b"server"))


def write_keys(keys: ScramKeys) -> str:
    """Write keys as the database has them; RFC 5803 section 2, as PostgreSQL writes it."""
    salt, stored, server = (b64encode(part).decode() for part in keys[1:])
    return f"{_SCHEME}${keys.iterations}:{salt}${stored}:{server}"


@lru_cache(maxsize=4096)
def read_keys(text: str) -> ScramKeys | None:
    """Read what ``write_keys`` wrote; None: it is something else."""
    match = _KEYS.fullmatch(text)
    if match is None:
        return None
    try:
        salt, stored, server = (a2b_base64(part, strict_mode=True) for part in match.groups()[1:])
    except NotBase64:
        return None
    whole = salt and len(stored) == len(server) == sha256().digest_size
    return ScramKeys(int(match.group(1)), salt, stored, server) if whole else None


@dataclass(frozen=True, slots=True)
class ClientFirst:
    """
    The first message of a client; RFC 5802 section 7.

    Args:
        header: ``gs2-header``: the channel binding and the ``authzid``, as written.
        binding: The kind of channel binding it uses; None: it uses none.
        wants_binding: Whether it would use one, but believes that we have none.
        authzid: On whose behalf it comes; empty: on its own.
        name: Who.
        nonce: The client's.
        bare: The message without the header.
    """

    header: str
    binding: str | None
    wants_binding: bool
    authzid: str
    name: str
    nonce: str
    bare: str


def read_first(message: bytes) -> ClientFirst:
    """
    Read ``client-first-message``; RFC 5802 section 7.

    Raises:
        BadResponse: It breaks the grammar, or needs an extension that we do not know.
    """
    match = _FIRST.fullmatch(_text(message))
    if match is None:
        raise BadResponse
    if match["reserved"] is not None:
        raise BadResponse("This needs an extension that is not known here")
    return ClientFirst(
        header=match["header"],
        binding=match["binding"],
        wants_binding=match["header"].startswith("y"),
        authzid=_plain(match["authzid"] or ""),
        name=_plain(match["name"]),
        nonce=match["nonce"],
        bare=match["bare"],
    )


def bound_to(first: ClientFirst, bindings: Mapping[str, bytes], *, plus: bool) -> bytes:
    """
    Tell which channel a client must name in its last message; RFC 5802 section 6.

    Args:
        first: Its first message.
        bindings: The channel bindings of its connection, by kind.
        plus: Whether it chose the mechanism with channel binding.

    Returns:
        ``cbind-input``.

    Raises:
        ChannelBindingFailed: Somebody in the middle has changed what we offered, or it asks
            for a kind of binding that there is not.
    """
    if plus != (first.binding is not None) or (first.wants_binding and bindings):
        raise ChannelBindingFailed
    header = first.header.encode()
    if first.binding is None:
        return header
    if first.binding not in bindings:
        raise ChannelBindingFailed("There is no such channel binding here")
    return header + bindings[first.binding]


@dataclass(frozen=True, slots=True)
class ServerFirst:
    """
    What we answer to the first message, and all that is needed for the last one.

    Args:
        first: What the client said.
        keys: Of its user.
        bound: ``cbind-input``, as ``bound_to`` gives it.
        nonce: Ours.
    """

    first: ClientFirst
    keys: ScramKeys
    bound: bytes
    nonce: str

    @property
    def message(self) -> bytes:
        """The octets: ``server-first-message``."""
        salt = b64encode(self.keys.salt).decode()
        return f"r={self._nonces},s={salt},i={self.keys.iterations}".encode()

    def answer(self, final: "ClientFinal", others: tuple[ScramKeys, ...] = ()) -> bytes | None:
        """
        Check the proof of a client.

        Args:
            final: Its last message.
            others: More keys of its user, of other passwords; those with another salt are
                of no use, for the client knows of one.

        Returns:
            ``server-final-message``, which proves us to the client; None: it is wrong.

        Raises:
            BadResponse: It belongs to another conversation.
            ChannelBindingFailed: It does not speak to us, but to somebody in the middle.
        """
        if not hmac.compare_digest(final.nonce.encode(), self._nonces.encode()):
            raise BadResponse("That is not the nonce of this login")
        if not hmac.compare_digest(final.binding, self.bound):
            raise ChannelBindingFailed
        said = b",".join((self.first.bare.encode(), self.message, final.bare.encode()))
        same = (one for one in others if one[:2] == self.keys[:2])
        for keys in (self.keys, *same):
            if _proves(keys.stored, said, final.proof):
                return b"v=" + b64encode(hmac.digest(keys.server, said, _HASH))
        return None

    @property
    def _nonces(self) -> str:
        return self.first.nonce + self.nonce


class ClientFinal(NamedTuple):
    """
    The last message of a client; RFC 5802 section 7.

    Args:
        binding: ``cbind-input``, decoded.
        nonce: Both nonces, one after the other.
        proof: That it knows the password.
        bare: The message without the proof.
    """

    binding: bytes
    nonce: str
    proof: bytes
    bare: str


def read_final(message: bytes) -> ClientFinal:
    """
    Read ``client-final-message``; RFC 5802 section 7.

    Raises:
        BadResponse: It breaks the grammar.
    """
    match = _FINAL.fullmatch(_text(message))
    if match is None:
        raise BadResponse
    try:
        binding = a2b_base64(match["binding"], strict_mode=True)
        proof = a2b_base64(match["proof"], strict_mode=True)
    except NotBase64:
        raise BadResponse from None
    return ClientFinal(binding, match["nonce"], proof, match["bare"])


def make_nonce() -> str:
    """Make our part of the nonce: 144 bits."""
    return b64encode(secrets.token_bytes(18)).decode()


def _proves(stored: bytes, said: bytes, proof: bytes) -> bool:
    """RFC 5802 section 3: the proof is ClientKey, hidden by a signature of what was said."""
    signature = hmac.digest(stored, said, _HASH)
    if len(proof) != len(signature):
        return False
    key = bytes(one ^ other for one, other in zip(proof, signature, strict=True))
    return hmac.compare_digest(sha256(key).digest(), stored)


def _text(message: bytes) -> str:
    try:
        return message.decode("utf-8")
    except UnicodeDecodeError:
        raise BadResponse from None


def _plain(written: str) -> str:
    """Read a ``saslname``."""
    return written.replace("=2C", ",").replace("=3D", "=")
