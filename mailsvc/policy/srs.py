"""
Sender rewriting for mail that is forwarded to other servers: SRS0 and SRS1.

A forwarded message with a foreign sender fails SPF at the next server, so its sender becomes
an address of ours that holds the old one. A bounce to it finds the way back; nobody else can
make such an address, for it is signed, and it is good for some weeks only.
"""

import base64
import hmac
from datetime import UTC, datetime
from hashlib import sha256

from mailsvc.model.address import LONGEST_LOCAL_PART, Address, BadAddress, parse_address

_DAYS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CYCLE = len(_DAYS) ** 2
GOOD_FOR = 21
"""Days in which a bounce finds its way back."""
_HASH = 6
_SECONDS = 86_400


class NotRewritten(ValueError):
    """The address is none of SRS, or not made here, or too old."""


def rewrite(sender: Address, domain: str, secret: bytes, now: datetime) -> Address | None:
    """
    Make the sender of a forwarded message.

    Args:
        sender: The old one.
        domain: Ours.
        secret: Known to our nodes only.
        now: Aware UTC.

    Returns:
        None: the address would be too long, so the old one must stay.
    """
    kind, _, rest = sender.local.partition("=")
    if kind.upper() == "SRS0" and rest:
        # Somebody before us has rewritten it: only his address is kept, not all on the way.
        body = f"{sender.domain}=={rest}"
        local = f"SRS1={_hash(secret, body)}={body}"
    elif kind.upper() == "SRS1" and rest.count("=") >= 1:
        _, _, body = rest.partition("=")
        local = f"SRS1={_hash(secret, body)}={body}"
    else:
        body = f"{_day(now)}={sender.domain}={sender.local}"
        local = f"SRS0={_hash(secret, body)}={body}"
    if len(local.encode()) > LONGEST_LOCAL_PART:
        return None
    return Address(local, domain)


def restore(address: Address, secret: bytes, now: datetime) -> Address:
    """
    Find the sender behind an address that we have made.

    Raises:
        NotRewritten: We have not, or long ago.
    """
    kind, _, rest = address.local.partition("=")
    proof, _, body = rest.partition("=")
    # Some servers write addresses in small letters.
    if not hmac.compare_digest(proof.upper().encode(), _hash(secret, body).upper().encode()):
        raise NotRewritten("it was not made here")
    if kind.upper() == "SRS0":
        day, _, old = body.partition("=")
        domain, _, local = old.partition("=")
        if not _is_fresh(day.upper(), now):
            raise NotRewritten("it is too old")
        return _address(local, domain)
    if kind.upper() == "SRS1":
        domain, _, local = body.partition("==")
        return _address(f"SRS0={local}", domain)
    raise NotRewritten("it is no address of SRS")


def restored(address: Address, secret: bytes) -> Address | None:
    """Find the sender behind an address; None: we have not made it, or long ago."""
    try:
        return restore(address, secret, datetime.now(UTC)) if is_rewritten(address) else None
    except NotRewritten:
        return None


def is_rewritten(address: Address) -> bool:
    """Whether an address looks like one."""
    return address.local[:5].upper() in {"SRS0=", "SRS1="}


def _address(local: str, domain: str) -> Address:
    try:
        return parse_address(f"{local}@{domain}", utf8=True)
    except BadAddress:
        raise NotRewritten("there is no address in it") from None


def _hash(secret: bytes, body: str) -> str:
    digest = hmac.digest(secret, b"SRS " + body.lower().encode(), sha256)
    return base64.b32encode(digest).decode()[:_HASH]


def _day(now: datetime) -> str:
    number = int(now.timestamp()) // _SECONDS % _CYCLE
    return _DAYS[number // len(_DAYS)] + _DAYS[number % len(_DAYS)]


def _is_fresh(day: str, now: datetime) -> bool:
    if len(day) != 2 or any(one not in _DAYS for one in day):  # noqa: PLR2004 - two digits
        return False
    then = _DAYS.index(day[0]) * len(_DAYS) + _DAYS.index(day[1])
    today = int(now.timestamp()) // _SECONDS % _CYCLE
    return (today - then) % _CYCLE <= GOOD_FOR
