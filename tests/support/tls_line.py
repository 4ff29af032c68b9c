"""A client and a server of ours, joined in memory; TLS is real, sockets there are none."""

from typing import Any, Self, cast

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from mailsvc.wire.certificates import Certificates
from tests.support.smtp_talk import FakeTransport

FROM = "192.0.2.7"
"""The client of a line."""


class Wire(FakeTransport):
    """The server's transport, as ``tcp.Server`` begins TLS."""

    def __init__(self, ip: str = FROM) -> None:
        super().__init__(ip)
        self.protocol: Any = None
        self.tls: TLSMemoryBIOProtocol | None = None

    def write(self, data: bytes) -> None:
        if self.tls is None:
            super().write(data)
        else:
            self.tls.write(data)

    def loseConnection(self) -> None:
        if self.tls is None:
            super().loseConnection()
        else:
            self.tls.loseConnection()

    def startTLS(self, creator: Any) -> None:
        factory = TLSMemoryBIOFactory(creator, False, cast("Any", None), Clock())
        self.tls = TLSMemoryBIOProtocol(factory, self.protocol, _connectWrapped=False)
        self.protocol = self.tls
        self.tls.makeConnection(cast("Any", _Below(self)))

    def getHandle(self) -> Any:
        assert self.tls is not None
        return self.tls.getHandle()


class _Below:
    """What is below TLS: the same transport without it."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def write(self, data: bytes) -> None:
        FakeTransport.write(self._wire, data)

    def loseConnection(self) -> None:
        FakeTransport.loseConnection(self._wire)

    def abortConnection(self) -> None:
        FakeTransport.abortConnection(self._wire)


class TlsLine:
    """
    One connection to a factory; each method gives it back.

    Args:
        factory: Makes the server's side.
        ip: Where the client is.
    """

    def __init__(self, factory: Any, ip: str = FROM) -> None:
        self.wire = Wire(ip)
        self.protocol: Protocol = factory.buildProtocol(None)
        self.wire.protocol = self.protocol
        self.protocol.makeConnection(cast("Any", self.wire))
        self._client: SSL.Connection | None = None
        self._read = 0
        self._lost = False

    def sends(self, octets: bytes) -> Self:
        """Send octets in one segment, through TLS once it has begun."""
        if self._client is None:
            return self.sends_plainly(octets)
        self._client.send(octets)
        self._pump()
        return self

    def says(self, *lines: bytes) -> Self:
        """Send lines in one segment."""
        return self.sends(b"".join(line + b"\r\n" for line in lines))

    def sends_plainly(self, octets: bytes) -> Self:
        """Send octets past TLS."""
        self.wire.protocol.dataReceived(octets)
        return self._notice()

    def heard(self) -> bytes:
        """Give what the server has said since the last time."""
        if self._client is None:
            octets = self.wire.written[self._read :]
            self._read = len(self.wire.written)
            return octets
        self._pump()
        try:
            return self._client.recv(1 << 16)
        except (SSL.WantReadError, SSL.ZeroReturnError):
            return b""

    def hears(self, *starts: bytes) -> Self:
        """Expect reply lines that start so, and no others."""
        lines = self.heard().split(b"\r\n")[:-1]
        matched = [line.startswith(start) for line, start in zip(lines, starts, strict=False)]
        assert len(lines) == len(starts), f"expected {starts}, heard {lines}"
        assert all(matched), f"expected {starts}, heard {lines}"
        return self

    def begins_tls(
        self, name: str | None = None, context: SSL.Context | None = None, before: bytes = b""
    ) -> Self:
        """
        Do the client's side of the handshake.

        Args:
            name: The server that it asks for.
            context: What it can do.
            before: Sent in one segment with the first octets of TLS: a PROXY header.

        Raises:
            SSL.Error: The two do not agree.
        """
        client = SSL.Connection(context or SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        if name is not None:
            client.set_tlsext_host_name(name.encode())
        client.set_connect_state()
        for _ in range(6):
            try:
                client.do_handshake()
            except SSL.WantReadError:
                before = self._carry(client, before)
            else:
                break
        self._client = client
        self._pump()
        return self

    @property
    def client(self) -> SSL.Connection:
        """The client's side of TLS."""
        assert self._client is not None
        return self._client

    @property
    def serial(self) -> int:
        """The serial number of the certificate that the server has shown."""
        shown = self.client.get_peer_certificate(as_cryptography=True)
        assert shown is not None
        return shown.serial_number

    def is_hung_up_on(self) -> Self:
        """Expect that the server has closed the connection."""
        assert self.wire.closed
        return self

    def is_still_connected(self) -> Self:
        """Expect that the server listens."""
        assert not self.wire.closed
        return self

    def _pump(self) -> None:
        self._carry(self.client, b"")

    def _carry(self, client: SSL.Connection, before: bytes) -> bytes:
        """Carry what both ends have to say."""
        octets = before + _pending(client)
        if octets:
            self.wire.protocol.dataReceived(octets)
        answer = self.wire.written[self._read :]
        self._read = len(self.wire.written)
        if answer:
            client.bio_write(answer)
        self._notice()
        return b""

    def _notice(self) -> Self:
        """Tell the server that the connection is closed, as a reactor does."""
        if self.wire.closed and not self._lost:
            self._lost = True
            self.wire.protocol.connectionLost(Failure(ConnectionDone()))
        return self


def _pending(client: SSL.Connection) -> bytes:
    try:
        return client.bio_read(1 << 16)
    except SSL.WantReadError:
        return b""


class CertificateFactory:
    """Makes protocols that only begin TLS, to look at certificates."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates

    def buildProtocol(self, addr: object) -> Protocol:
        del addr
        return _OnlyTls(self._certificates)


class _OnlyTls(Protocol):
    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates

    def connectionMade(self) -> None:
        cast("Wire", self.transport).startTLS(self._certificates)
