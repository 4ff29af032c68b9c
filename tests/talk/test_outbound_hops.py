"""Next hops, asked of a real name server in memory, with every odd answer."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.names import dns
from twisted.names.error import (
    DNSNameError,
    DNSQueryRefusedError,
    DNSQueryTimeoutError,
    DNSServerError,
)

from mailsvc.outbound.hops import MOST_ADDRESSES, MOST_HOSTS, Hop, NoHop, find_hops
from tests.support.control_office import finish

Zone = dict[tuple[str, int], "list[Any] | Exception"]


class PaperResolver:
    """Answers from a list; a name that is not in it does not exist."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.asked: list[str] = []

    def lookupMailExchange(self, name: str, /) -> "Deferred[Any]":
        """Ask for MX."""
        return self._look(name, dns.MX)

    def lookupAddress(self, name: str, /) -> "Deferred[Any]":
        """Ask for A."""
        return self._look(name, dns.A)

    def lookupIPV6Address(self, name: str, /) -> "Deferred[Any]":
        """Ask for AAAA."""
        return self._look(name, dns.AAAA)

    def _look(self, name: str, kind: int) -> "Deferred[Any]":
        self.asked.append(name)
        found = self.zone.get((name, kind))
        if found is None:
            known = any(key[0] == name for key in self.zone)
            return succeed(([], [], [])) if known else fail(DNSNameError())
        if isinstance(found, Exception):
            return fail(found)
        headers = [dns.RRHeader(name, one.TYPE, payload=one) for one in found]
        return succeed((headers, [], []))


def _mx(*pairs: tuple[int, str]) -> list[Any]:
    return [dns.Record_MX(preference, name) for preference, name in pairs]


def _a(*addresses: str) -> list[Any]:
    return [dns.Record_A(one) for one in addresses]


def _aaaa(*addresses: str) -> list[Any]:
    return [dns.Record_AAAA(one) for one in addresses]


HOSTS: Zone = {
    ("a.far", dns.A): _a("192.0.2.1"),
    ("b.far", dns.A): _a("192.0.2.2", "192.0.2.3"),
    ("b.far", dns.AAAA): _aaaa("2001:db8::2"),
    ("c.far", dns.AAAA): _aaaa("2001:db8::3"),
}


def _hops(
    zone: Zone,
    domain: str = "far",
    is_us: Callable[[str], bool] = lambda _: False,
    shuffle: Callable[[list[Any]], None] = lambda _: None,
) -> tuple[Hop, ...]:
    return finish(find_hops(PaperResolver({**HOSTS, **zone}), domain, is_us, shuffle))


def _names(hops: Sequence[Hop]) -> list[str]:
    return [one.host for one in hops]


def test_the_nearest_server_comes_first() -> None:
    """By preference; the addresses of both families take turns."""
    hops = _hops({("far", dns.MX): _mx((20, "a.far"), (10, "B.far"), (30, "c.far"))})

    assert hops == (
        Hop("b.far", ("2001:db8::2", "192.0.2.2", "192.0.2.3")),
        Hop("a.far", ("192.0.2.1",)),
        Hop("c.far", ("2001:db8::3",)),
    )


def test_equal_servers_are_shuffled() -> None:
    """And only those: RFC 5321 spreads the load among them."""
    zone: Zone = {("far", dns.MX): _mx((10, "a.far"), (10, "b.far"), (5, "c.far"))}

    assert _names(_hops(zone)) == ["c.far", "a.far", "b.far"]
    assert _names(_hops(zone, shuffle=lambda found: found.reverse())) == ["c.far", "b.far", "a.far"]


def test_a_domain_without_mx_is_its_own_server() -> None:
    """Also behind a CNAME, whose record stands beside the answer."""
    assert _hops({}, "a.far") == (Hop("a.far", ("192.0.2.1",)),)
    alias = [dns.Record_CNAME("a.far"), *_a("192.0.2.1")]
    assert _hops({("www", dns.A): alias}, "www") == (Hop("www", ("192.0.2.1",)),)
    both = [dns.Record_CNAME("other"), *_mx((1, "a.far"))]
    assert _names(_hops({("far", dns.MX): both})) == ["a.far"]


@pytest.mark.parametrize(
    ("domain", "address"),
    [("[192.0.2.9]", "192.0.2.9"), ("[IPv6:2001:db8::9]", "2001:db8::9")],
)
def test_a_literal_needs_no_dns(domain: str, address: str) -> None:
    """RFC 5321 section 4.1.3; its name, for TLS, is the address."""
    assert _hops({}, domain) == (Hop(address, (address,)),)


@pytest.mark.parametrize(
    ("zone", "domain", "status", "said"),
    [
        ({}, "nowhere", "5.1.2", "there is no domain nowhere"),
        ({}, "[nowhere]", "5.1.2", "is no address"),
        ({("far", dns.MX): _mx((0, ""))}, "far", "5.1.10", "null MX"),
        ({("far", dns.TXT): []}, "far", "5.4.4", "neither MX nor address"),
        ({("far", dns.MX): _mx((1, "gone.far"))}, "far", "5.4.4", "no server of far"),
        ({("far", dns.MX): [dns.Record_MX(1, b"\xff")]}, "far", "5.4.4", "no server of far"),
        ({("far", dns.MX): DNSServerError()}, "far", "4.4.3", "DNSServerError"),
        ({("far", dns.MX): DNSQueryRefusedError()}, "far", "4.4.3", "DNSQueryRefused"),
        ({("far", dns.MX): DNSQueryTimeoutError(1)}, "far", "4.4.3", "Timeout"),
        ({("far", dns.MX): OSError("no network")}, "far", "4.4.3", "OSError"),
        (
            {("far", dns.MX): [], ("far", dns.A): DNSServerError()},
            "far",
            "4.4.3",
            "does not tell about far",
        ),
        (
            {("far", dns.MX): _mx((1, "gone"), (2, "sick")), ("sick", dns.A): DNSServerError()},
            "far",
            "4.4.3",
            "does not tell about sick",
        ),
    ],
)
def test_why_there_is_no_server_is_told(zone: Zone, domain: str, status: str, said: str) -> None:
    """What DNS does not know for now is never a reason to send mail back."""
    with pytest.raises(NoHop, match=said) as caught:
        _hops(zone, domain)
    assert str(caught.value.status) == status


def test_one_server_that_is_found_is_enough() -> None:
    """Whatever is wrong with the others, a null MX among them included."""
    zone: Zone = {
        ("far", dns.MX): _mx((0, ""), (1, "gone.far"), (2, "sick.far"), (3, "a.far")),
        ("sick.far", dns.A): DNSServerError(),
        ("sick.far", dns.AAAA): DNSServerError(),
    }
    assert _names(_hops(zone)) == ["a.far"]


def test_one_family_that_fails_leaves_the_other() -> None:
    """Some name servers know nothing of AAAA."""
    zone: Zone = {("d.far", dns.AAAA): DNSServerError(), ("d.far", dns.A): _a("192.0.2.4")}
    assert _hops(zone, "d.far") == (Hop("d.far", ("192.0.2.4",)),)


def test_mail_never_goes_to_us_nor_further_away() -> None:
    """RFC 5321 section 5.1; when nobody is nearer, it is a loop."""
    zone: Zone = {("far", dns.MX): _mx((5, "a.far"), (10, "us.far"), (10, "b.far"), (20, "c.far"))}

    assert _names(_hops(zone, is_us=lambda name: name == "us.far")) == ["a.far"]
    with pytest.raises(NoHop, match="this is a loop") as caught:
        _hops(zone, is_us=lambda name: name == "a.far")
    assert str(caught.value.status) == "5.4.6"


def test_answers_without_end_are_cut() -> None:
    """A domain cannot make us ask for ever."""
    many: Zone = {("far", dns.MX): _mx(*((number, f"h{number}") for number in range(200)))}
    for number in range(200):
        many[f"h{number}", dns.A] = _a(*(f"10.0.{number}.{host}" for host in range(50)))
    hops = _hops(many)

    assert len(hops) == MOST_HOSTS
    assert all(len(hop.addresses) == MOST_ADDRESSES for hop in hops)
