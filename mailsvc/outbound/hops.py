"""Which servers take the mail of a domain; RFC 5321 section 5.1, RFC 7505."""

import random
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import chain, zip_longest
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.names import dns
from twisted.names.error import DNSNameError

from mailsvc.model.status import Status

PORT = 25
MOST_HOSTS = 20
"""Servers of one domain that are tried: more are a mistake, or an attack."""
MOST_ADDRESSES = 16
"""Of one server."""

Answers = tuple[Sequence[Any], Sequence[Any], Sequence[Any]]


class Resolver(Protocol):
    """What we ask of DNS; TWISTED: ``names.client.Resolver``."""

    def lookupMailExchange(self, name: str, /) -> "Deferred[Answers]":
        """Ask for MX."""
        ...

    def lookupAddress(self, name: str, /) -> "Deferred[Answers]":
        """Ask for A."""
        ...

    def lookupIPV6Address(self, name: str, /) -> "Deferred[Answers]":
        """Ask for AAAA."""
        ...


class Hop(NamedTuple):
    """
    One server.

    Args:
        host: Its name: for TLS, and for people; an address where there is no name.
        addresses: Where it is, in the order in which they are tried; one at least.
    """

    host: str
    addresses: tuple[str, ...]
    port: int = PORT


class NoHop(Exception):
    """
    Nobody takes the mail of the domain.

    Args:
        text: Why, in one line.
        status: RFC 3463; permanent, or worth another try.
    """

    def __init__(self, text: str, status: Status) -> None:
        super().__init__(text)
        self.status = status


class _Gone(Exception):
    """DNS says that there is no such name."""


async def find_hops(
    resolver: Resolver,
    domain: str,
    is_us: Callable[[str], bool] = lambda _: False,
    shuffle: Callable[[list[Any]], None] = random.shuffle,
) -> tuple[Hop, ...]:
    """
    Find the servers of a domain, in the order in which they are tried.

    Args:
        resolver: Asked.
        domain: A-labels, or an address literal such as ``[192.0.2.1]``.
        is_us: Tells whether a server is this one: mail never goes to it, nor to those that
            are further away than we are.
        shuffle: Mixes servers of the same preference.

    Raises:
        NoHop: There is none, for ever or for now.
    """
    if domain.startswith("["):
        return (_literal(domain),)
    exchanges = await _exchanges(resolver, domain)
    if [one for one in exchanges if not one[1]]:
        if len(exchanges) == 1:
            raise NoHop(f"{domain} takes no mail (null MX, RFC 7505)", Status(5, 1, 10))
        exchanges = [one for one in exchanges if one[1]]
    if not exchanges:
        return (await _host(resolver, domain, alone=True),)
    shuffle(exchanges)
    exchanges.sort(key=lambda one: one[0])
    nearest = min((one[0] for one in exchanges if is_us(one[1])), default=None)
    if nearest is not None:
        exchanges = [one for one in exchanges if one[0] < nearest]
        if not exchanges:
            raise NoHop(f"mail for {domain} comes back to us: this is a loop", Status(5, 4, 6))
    return await _hosts(resolver, domain, [name for _, name in exchanges[:MOST_HOSTS]])


async def find_address(resolver: Resolver, host: str) -> Hop:
    """
    Find the addresses of one server by its name.

    Raises:
        NoHop: It has none, for ever or for now.
    """
    return await _host(resolver, host, alone=True)


def _literal(domain: str) -> Hop:
    """Read an address literal; RFC 5321 section 4.1.3."""
    text = domain[1:-1]
    address = text[5:] if text[:5].lower() == "ipv6:" else text
    try:
        number = str(ip_address(address))
    except ValueError:
        raise NoHop(f"{domain} is no address", Status(5, 1, 2)) from None
    # TLS knows names and numbers, and no brackets; RFC 6066 section 3.
    return Hop(number, (number,))


async def _exchanges(resolver: Resolver, domain: str) -> list[tuple[int, str]]:
    """Ask for MX: preferences and names; the empty name is the root."""
    try:
        found = await _ask(resolver.lookupMailExchange(domain), dns.MX)
    except _Gone:
        raise NoHop(f"there is no domain {domain}", Status(5, 1, 2)) from None
    except Exception as error:  # noqa: BLE001 - DNS has many, and all of them may pass
        raise _later(domain, error) from None
    return [(int(one.preference), _name(one)) for one in found]


def _name(record: Any) -> str:
    """Read the name of a server; RFC 2181 section 11 allows any octets in it."""
    octets: bytes = record.name.name
    return octets.decode("ascii", "backslashreplace").rstrip(".").lower()


async def _hosts(resolver: Resolver, domain: str, names: Sequence[str]) -> tuple[Hop, ...]:
    """Ask for the addresses of all servers; those that have none are left out."""
    hops: list[Hop] = []
    troubles: list[NoHop] = []
    for name in names:
        try:
            hops.append(await _host(resolver, name, alone=False))
        except NoHop as trouble:
            troubles.append(trouble)
    if hops:
        return tuple(hops)
    # One that may be found tomorrow is worth another try.
    passing = next((one for one in troubles if not one.status.permanent), None)
    if passing is not None:
        raise passing
    raise NoHop(f"no server of {domain} has an address", Status(5, 4, 4))


async def _host(resolver: Resolver, name: str, *, alone: bool) -> Hop:
    """Ask for the addresses of one server; *alone*: it is the domain itself, without MX."""
    trouble: Exception | None = None
    found: list[list[str]] = []
    for lookup, kind in ((resolver.lookupIPV6Address, dns.AAAA), (resolver.lookupAddress, dns.A)):
        try:
            records = await _ask(lookup(name), kind)
        except _Gone:
            found.append([])
        except Exception as error:  # noqa: BLE001 - as above
            trouble = error
            found.append([])
        else:
            found.append([_address(one) for one in records])
    mixed = chain.from_iterable(zip_longest(*found))
    addresses = tuple(dict.fromkeys(one for one in mixed if one is not None))
    if addresses:
        return Hop(name, addresses[:MOST_ADDRESSES])
    if trouble is not None:
        raise _later(name, trouble)
    what = "neither MX nor address" if alone else "no address"
    raise NoHop(f"{name} has {what} in DNS", Status(5, 4, 4))


async def _ask(asked: "Deferred[Answers]", kind: int) -> list[Any]:
    """Give the records of one kind; whatever stands beside them, such as CNAME, is left out."""
    try:
        answers, _, _ = await asked
    except DNSNameError:
        raise _Gone from None
    return [one.payload for one in answers if one.type == kind]


def _address(record: Any) -> str:
    packed: bytes = record.address
    return str(IPv6Address(packed) if isinstance(record, dns.Record_AAAA) else IPv4Address(packed))


def _later(name: str, error: Exception) -> NoHop:
    return NoHop(f"DNS does not tell about {name}: {type(error).__name__}", Status(4, 4, 3))
