"""The same connections with a real kernel between a client and a server, plain and over TLS."""

from collections.abc import Callable, Iterator
from pathlib import Path
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Any, cast

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLClientConnectionCreator
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from mailsvc.background import Background
from mailsvc.config.settings import TlsVersion
from mailsvc.config.units import KIB
from mailsvc.wire.certificates import Certificates
from mailsvc.wire.dialogue import MOST_BUFFERED, Dialogue
from mailsvc.wire.prompt import PromptConnecting, PromptPort
from mailsvc.wire.turns import TurnReactor
from tests.support.certificates import make_certificate

LARGE = b"L" * 16 * KIB


@implementer(IHandshakeListener)
class _Talks(Protocol):
    """One end of a real connection."""

    def __init__(self, answer: Callable[["_Talks", bytes], object]) -> None:
        self._answer = answer
        self.heard = b""
        self.agreed = False
        self.lost: Failure | None = None

    @property
    def wire(self) -> Any:
        """Its transport."""
        return self.transport

    def dataReceived(self, data: bytes) -> None:
        """Note it and answer."""
        self.heard += data
        self._answer(self, data)

    def handshakeCompleted(self) -> None:
        """Note it."""
        self.agreed = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note it."""
        self.lost = reason


class _Ends(ClientFactory):
    """Makes ends of one kind, and has them."""

    noisy = False

    def __init__(self, answer: Callable[[_Talks, bytes], object]) -> None:
        self._answer = answer
        self.made: list[_Talks] = []

    def buildProtocol(self, addr: object) -> Protocol:
        """Make one."""
        del addr
        self.made.append(_Talks(self._answer))
        return self.made[-1]


@implementer(IOpenSSLClientConnectionCreator)
class _AnyServer:
    """TLS that asks nobody who he is."""

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:  # noqa: N803 - Twisted's
        """Make the client's side."""
        del tlsProtocol
        return SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)


class _Loopback:
    """A client and a server of ours on this machine, on a reactor of their own."""

    def __init__(
        self,
        server: Callable[[_Talks, bytes], object],
        client: Callable[[_Talks, bytes], object] = lambda _, __: None,
    ) -> None:
        self.reactor: Any = TurnReactor()
        self._servers, self._clients = _Ends(server), _Ends(client)
        self._port = PromptPort(
            0, cast("Factory[Protocol]", self._servers), 5, "127.0.0.1", self.reactor
        )
        self._port.startListening()
        PromptConnecting(self.reactor).connectTCP(
            "127.0.0.1", self._port.getHost().port, self._clients
        )
        self.turn_until(lambda: bool(self._servers.made and self._clients.made))
        self.server, self.client = self._servers.made[0], self._clients.made[0]

    def turn_until(self, over: Callable[[], bool]) -> None:
        """Let the reactor turn until something has happened."""
        for _ in range(3000):
            if over():
                return
            self.reactor.iterate(0.01)
        raise AssertionError("it does not happen")

    def close(self) -> None:
        """Give everything back."""
        for end in (self.server, self.client):
            end.wire.abortConnection()
        self._port.stopListening()
        self.reactor.iterate(0)
        self.reactor.removeAll()
        self.reactor.waker.connectionLost(None)


def _silent(end: _Talks, data: bytes) -> None:
    """Answer nothing."""


@pytest.fixture
def loopback() -> Iterator[Callable[..., _Loopback]]:
    """Give what connects a client and a server."""
    made: list[_Loopback] = []

    def connect(*answers: Callable[[_Talks, bytes], object]) -> _Loopback:
        made.append(_Loopback(*answers))
        return made[-1]

    yield connect
    for one in made:
        one.close()


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Give the certificates of a server."""
    certificates = Certificates(TlsVersion.TLS12)
    certificates.load([make_certificate(tmp_path, "mail.test.com")])
    return certificates


class TestRealSockets:
    """A client and a server of ours, with a real kernel between them."""

    def test_both_sides_hear_each_other(self, loopback: Callable[..., _Loopback]) -> None:
        """A word from each."""
        line = loopback(lambda end, _: end.wire.write(b"hello client"))

        line.client.wire.write(b"hello server")
        line.turn_until(lambda: bool(line.client.heard))

        assert line.server.heard == b"hello server"
        assert line.client.heard == b"hello client"

    def test_every_octet_comes_once_and_in_order(self, loopback: Callable[..., _Loopback]) -> None:
        """However large the pieces are, and more than the kernel takes at once."""
        line = loopback(lambda end, data: end.wire.write(data))
        pieces = [bytes([number]) * (1 + number * number * 6) for number in range(100)]

        for piece in pieces:
            line.client.wire.write(piece)
        whole = b"".join(pieces)
        line.turn_until(lambda: len(line.client.heard) >= len(whole))

        assert line.server.heard == line.client.heard == whole

    def test_last_words_arrive(self, loopback: Callable[..., _Loopback]) -> None:
        """Then the other side sees a clean end."""

        def say_bye(end: _Talks, data: bytes) -> None:
            del data
            end.wire.write(b"221 ")
            end.wire.write(b"Bye")
            end.wire.loseConnection()

        line = loopback(say_bye)

        line.client.wire.write(b"QUIT")
        line.turn_until(lambda: line.client.lost is not None)

        assert line.client.heard == b"221 Bye"
        assert line.client.lost is not None
        assert line.client.lost.check(ConnectionDone)

    def test_tls_begins_behind_the_last_plain_word(
        self, loopback: Callable[..., _Loopback], certificates: Certificates
    ) -> None:
        """And everything that is said over it arrives, to the last word."""

        def serve(end: _Talks, data: bytes) -> None:
            if data == b"STARTTLS":
                end.wire.write(b"220 ")
                end.wire.write(b"Go on")
                end.wire.startTLS(certificates)
            elif data == b"QUIT":
                end.wire.write(b"221 ")
                end.wire.writeSequence([b"Bye", LARGE])
                end.wire.write(b"!")
                end.wire.loseConnection()

        def ask(end: _Talks, data: bytes) -> None:
            if data == b"220 Go on":
                end.wire.startTLS(_AnyServer())
                end.wire.write(b"QUIT")

        line = loopback(serve, ask)

        line.client.wire.write(b"STARTTLS")
        line.turn_until(lambda: line.client.lost is not None and line.server.lost is not None)

        assert line.server.agreed
        assert line.client.agreed
        assert line.client.heard == b"220 Go on221 Bye" + LARGE + b"!"
        assert line.client.lost is not None
        assert line.client.lost.check(ConnectionDone)

    @pytest.mark.parametrize("tls", [False, True])
    def test_a_client_that_reads_slowly_gets_all_of_it(
        self, loopback: Callable[..., _Loopback], certificates: Certificates, *, tls: bool
    ) -> None:
        """While it does not read, nothing more is piled up for it."""
        line = loopback(_silent)
        line.server.wire.socket.setsockopt(SOL_SOCKET, SO_SNDBUF, 64 * KIB)
        if tls:
            line.server.wire.startTLS(certificates)
            line.client.wire.startTLS(_AnyServer())
            line.turn_until(lambda: line.server.agreed and line.client.agreed)
        dialogue, background = Dialogue(line.server.wire, line.reactor, 512), Background()
        pieces = [bytes([number]) * 40_000 for number in range(200)]
        said: list[bytes] = []

        async def talk() -> None:
            for piece in pieces:
                await dialogue.send(piece, 60)
                said.append(piece)
            dialogue.write(b"Bye")
            dialogue.close()

        line.client.wire.pauseProducing()
        background.start(talk(), "a talk")
        for _ in range(20):
            line.reactor.iterate(0)
        assert len(said) < len(pieces)
        stalled = len(said)
        line.reactor.iterate(0)
        assert len(said) == stalled
        line.client.wire.resumeProducing()
        line.turn_until(lambda: line.client.lost is not None)

        assert line.client.heard == b"".join(pieces) + b"Bye"
        assert len(background) == 0
        dialogue.lost()

    @pytest.mark.parametrize("tls", [False, True])
    def test_what_a_client_has_not_read_is_known(
        self, loopback: Callable[..., _Loopback], certificates: Certificates, *, tls: bool
    ) -> None:
        """Wherever it waits: in our buffers, in our kernel's or on the way."""
        line = loopback(_silent)
        if tls:
            line.server.wire.startTLS(certificates)
            line.client.wire.startTLS(_AnyServer())
            line.turn_until(lambda: line.server.agreed and line.client.agreed)
        line.turn_until(lambda: line.server.wire.unread_octets() == 0)
        line.client.wire.pauseProducing()

        line.server.wire.socket.setsockopt(SOL_SOCKET, SO_SNDBUF, 64 * KIB)
        line.server.wire.write(b"x" * 3_000 * KIB)
        line.reactor.iterate(0)
        at_first = line.server.wire.unread_octets()
        # The client's host takes some before its user reads.
        assert 2_000 * KIB < at_first < 3_100 * KIB
        wire = line.server.wire
        ours = len(wire.dataBuffer) - wire.offset + wire._tempDataLen  # noqa: SLF001 - Twisted's
        assert 0 < ours < at_first
        line.server.wire.write(b"y" * 1000 * KIB)
        assert at_first + 1000 * KIB <= line.server.wire.unread_octets() <= at_first + 1100 * KIB
        line.client.wire.resumeProducing()
        line.turn_until(lambda: line.server.wire.unread_octets() < at_first)
        line.turn_until(lambda: line.server.wire.unread_octets() == 0)

        line.client.wire.abortConnection()
        line.turn_until(lambda: line.server.lost is not None)
        assert line.server.wire.unread_octets() == 0

    def test_a_client_that_has_said_too_much_may_leave_at_once(
        self, loopback: Callable[..., _Loopback], certificates: Certificates
    ) -> None:
        """The end of TLS is behind all that it has sent and nobody reads."""
        heard: list[Dialogue] = []
        line = loopback(lambda _, data: heard[0].received(data))
        line.server.wire.startTLS(certificates)
        line.client.wire.startTLS(_AnyServer())
        line.turn_until(lambda: line.server.agreed and line.client.agreed)
        dialogue = Dialogue(line.server.wire, Clock(), 512)
        heard.append(dialogue)
        line.client.wire.write(b"x" * 500 * KIB)
        line.turn_until(lambda: len(line.server.heard) > MOST_BUFFERED)

        dialogue.write(b"Bye")
        dialogue.close()
        line.turn_until(lambda: line.server.lost is not None)

        assert line.client.heard == b"Bye"

    def test_a_client_may_end_tls_while_it_reads_nothing(
        self, loopback: Callable[..., _Loopback], certificates: Certificates
    ) -> None:
        """Its connection is over when it has read on, not when our patience is."""
        line = loopback(_silent)
        line.server.wire.socket.setsockopt(SOL_SOCKET, SO_SNDBUF, 64 * KIB)
        line.server.wire.startTLS(certificates)
        line.client.wire.startTLS(_AnyServer())
        line.turn_until(lambda: line.server.agreed and line.client.agreed)
        dialogue, background = Dialogue(line.server.wire, Clock(), 512), Background()

        async def talk() -> None:
            for _ in range(200):
                await dialogue.send(b"x" * 40_000, 60)

        line.client.wire.pauseProducing()
        background.start(talk(), "a talk")
        for _ in range(20):
            line.reactor.iterate(0)
        line.client.wire.protocol._shutdownTLS()  # noqa: SLF001 - says good-bye, and no more
        for _ in range(20):
            line.reactor.iterate(0)
        assert line.server.lost is None
        line.client.wire.resumeProducing()
        line.turn_until(lambda: line.server.lost is not None)
        dialogue.lost()

        assert len(background) == 0

    def test_nobody_listens(self) -> None:
        """Whoever connects hears of it."""
        reactor: Any = TurnReactor()
        told: list[Failure] = []

        class Refused(ClientFactory):
            def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
                del connector
                told.append(reason)

        port = PromptPort(0, cast("Factory[Protocol]", _Ends(_silent)), 5, "127.0.0.1", reactor)
        port.startListening()
        number = port.getHost().port
        port.stopListening()
        reactor.iterate(0)
        PromptConnecting(reactor).connectTCP("127.0.0.1", number, Refused())
        for _ in range(3000):
            if not told:
                reactor.iterate(0.01)
        reactor.waker.connectionLost(None)

        assert [one.check(ConnectError) for one in told] == [ConnectError]
