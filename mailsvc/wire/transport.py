"""What we need of Twisted's transports, and what they tell."""

from typing import Any, Protocol

from twisted.internet.interfaces import IAddress, IPushProducer

from mailsvc.model.envelope import Client


class Transport(Protocol):
    """What we need of a Twisted transport; TCP, TLS and UNIX sockets have it."""

    def write(self, data: bytes, /) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def registerProducer(self, producer: IPushProducer, streaming: bool, /) -> None: ...  # noqa: FBT001 - Twisted's
    def unregisterProducer(self) -> None: ...


class TcpTransport(Transport, Protocol):
    """A transport that knows its other end."""

    def getPeer(self) -> IAddress: ...


class TlsTransport(Transport, Protocol):
    """A transport that can begin TLS."""

    protocol: Any

    def startTLS(self, creator: object, /) -> None: ...
    def getHandle(self) -> Any: ...


def client_of(peer: IAddress) -> Client:
    """
    Tell who is at the other end; a UNIX socket counts as this machine.

    A socket for both families shows IPv4 clients as ``::ffff:192.0.2.1``; here they are what
    they are.
    """
    host: str = getattr(peer, "host", None) or "127.0.0.1"
    return Client(host.removeprefix("::ffff:"), getattr(peer, "port", 0))


def set_no_delay(transport: object) -> None:
    """Send small replies at once: without it each costs 40 ms (Nagle and delayed ACK)."""
    switch = getattr(transport, "setTcpNoDelay", None)
    if switch is not None:
        switch(True)


def unread_octets(transport: object) -> int:
    """Tell how many octets were written that the client's host has not taken, as far as known."""
    tell = getattr(transport, "unread_octets", None)
    return tell() if tell is not None else 0
