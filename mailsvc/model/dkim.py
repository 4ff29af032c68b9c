"""Keys that sign mail, and what a domain publishes in DNS."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class Algorithm(StrEnum):
    """How a key signs; RFC 6376 section 3.3, RFC 8463."""

    RSA = "rsa"
    ED25519 = "ed25519"


class SigningKey(NamedTuple):
    """
    What signs the mail of a domain.

    Args:
        private: PKCS8 in PEM.
    """

    domain: str
    selector: str
    algorithm: Algorithm
    private: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DkimKey:
    """
    A key as an administrator sees it.

    Args:
        record: What stands in DNS under ``selector._domainkey.domain``.
        active: Whether it signs.
    """

    domain: str
    selector: str
    algorithm: Algorithm
    active: bool
    created: datetime
    record: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDkimKey:
    """
    A key to be made.

    Args:
        selector: Empty: one is chosen.
        active: Whether it signs from now on.
    """

    domain: str
    algorithm: Algorithm
    selector: str = ""
    active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsRecord:
    """
    One record to publish.

    Args:
        name: With a dot at its end.
        kind: MX, TXT or SRV.
        value: As in a zone file, without the quotes of texts.
        why: For people.
    """

    name: str
    kind: str
    value: str
    why: str
