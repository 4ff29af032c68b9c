"""A small authoritative name server in the process of the test, on loopback."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.selectreactor import SelectReactor
from twisted.names import dns, server
from twisted.names.client import Resolver
from twisted.names.error import DomainError

from tests.support.daemon import free_ports


class Zone:
    """Answers with the records of a name, of whatever kind; ``None`` for a name: it is silent."""

    def __init__(self, records: Mapping[str, "Sequence[Any] | None"]) -> None:
        self.records = records

    def query(self, query: Any, timeout: object = None) -> "Deferred[Any]":
        """Answer one question."""
        del timeout
        name = query.name.name.decode().lower()
        if name not in self.records:
            return fail(DomainError())
        found = self.records[name]
        if found is None:
            return Deferred()
        wanted = [one for one in found if one.TYPE in {query.type, dns.CNAME}]
        headers = [dns.RRHeader(name, one.TYPE, payload=one, auth=True) for one in wanted]
        return succeed((headers, [], []))

    def lookupZone(self, *_: object) -> "Deferred[Any]":
        """Refuse."""
        return fail(DomainError())


@contextmanager
def name_server(
    records: Mapping[str, "Sequence[Any] | None"],
) -> Iterator[tuple[SelectReactor, Resolver]]:
    """Run it; gives a reactor that must be run, and a resolver that asks it."""
    reactor: Any = SelectReactor()
    factory = server.DNSServerFactory(clients=[Zone(records)])
    factory.noisy = False
    protocol = dns.DNSDatagramProtocol(factory, reactor=reactor)
    protocol.noisy = False
    [number] = free_ports(1)
    port = reactor.listenUDP(number, protocol, interface="127.0.0.1")
    stream = reactor.listenTCP(number, factory, interface="127.0.0.1")
    resolver = Resolver(servers=[("127.0.0.1", number)], timeout=(1,), reactor=reactor)
    try:
        yield reactor, resolver
    finally:
        for one in (port, stream):
            one.stopListening()
        for _ in range(5):
            reactor.iterate(0.01)


@contextmanager
def serving(records: Mapping[str, "Sequence[Any] | None"]) -> Iterator[int]:
    """Run it in a thread, for a daemon; gives its port."""
    with name_server(records) as (reactor, resolver):
        ended = Event()

        def work() -> None:
            while not ended.is_set():
                reactor.iterate(0.05)

        thread = Thread(target=work)
        thread.start()
        try:
            yield resolver.servers[0][1]
        finally:
            ended.set()
            thread.join()
