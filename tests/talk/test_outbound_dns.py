"""Next hops, asked of a real name server over UDP and TCP."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.names import dns
from twisted.python.failure import Failure

from mailsvc.outbound.hops import Hop, NoHop, find_hops
from tests.support.name_server import name_server

ZONE: Mapping[str, "Sequence[Any] | None"] = {
    "far.test": [dns.Record_MX(20, "b.far.test"), dns.Record_MX(10, "A.far.test")],
    "a.far.test": [dns.Record_A("192.0.2.1"), dns.Record_AAAA("2001:db8::1")],
    "b.far.test": [dns.Record_A("192.0.2.2")],
    "null.test": [dns.Record_MX(0, "")],
    "plain.test": [dns.Record_A("192.0.2.3")],
    "empty.test": [dns.Record_TXT(b"nothing here")],
    "silent.test": None,
    "half.test": [dns.Record_MX(1, "gone.test"), dns.Record_MX(2, "b.far.test")],
    # More than a datagram holds: asked again over TCP.
    "large.test": [dns.Record_MX(number, f"mx{number:03}.large.test") for number in range(60)],
    **{f"mx{number:03}.large.test": [dns.Record_A(f"10.0.0.{number}")] for number in range(60)},
}


def _ask(domain: str) -> tuple[Hop, ...]:
    outcome: list[Any] = []
    with name_server(ZONE) as (reactor, resolver):
        asked = Deferred.fromCoroutine(find_hops(resolver, domain))
        _ = asked.addBoth(outcome.append)
        for _ in range(2000):
            if outcome:
                break
            reactor.iterate(0.01)
    assert outcome, "no answer"
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    found: tuple[Hop, ...] = outcome[0]
    return found


def test_servers_are_found() -> None:
    """In small letters, the nearest first, with both families."""
    assert _ask("far.test") == (
        Hop("a.far.test", ("2001:db8::1", "192.0.2.1")),
        Hop("b.far.test", ("192.0.2.2",)),
    )
    assert _ask("plain.test") == (Hop("plain.test", ("192.0.2.3",)),)
    assert _ask("half.test") == (Hop("b.far.test", ("192.0.2.2",)),)


def test_an_answer_that_is_too_large_for_udp_comes_by_tcp() -> None:
    """The first servers of it, in order."""
    found = _ask("large.test")
    assert [one.host for one in found] == [f"mx{number:03}.large.test" for number in range(20)]


@pytest.mark.parametrize(
    ("domain", "status"),
    [
        ("gone.test", "5.1.2"),
        ("null.test", "5.1.10"),
        ("empty.test", "5.4.4"),
        ("silent.test", "4.4.3"),
    ],
)
def test_what_is_not_found_is_told(domain: str, status: str) -> None:
    """A name server that is silent is no reason to send mail back."""
    with pytest.raises(NoHop) as caught:
        _ask(domain)
    assert str(caught.value.status) == status
