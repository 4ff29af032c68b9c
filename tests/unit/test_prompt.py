"""Connections that read and write in large steps, and say at once what they have to say."""

from collections.abc import Callable, Iterator
from errno import EAGAIN, EPIPE
from pathlib import Path
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Any, cast

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLClientConnectionCreator
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure
from zope.interface import implementer

from mailsvc.background import Background
from mailsvc.config.settings import TlsVersion
from mailsvc.config.units import KIB
from mailsvc.wire.certificates import Certificates
from mailsvc.wire.dialogue import MOST_BUFFERED, Dialogue
from mailsvc.wire.prompt import PromptConnecting, PromptConnection, PromptPort
from mailsvc.wire.turns import TurnReactor
from tests.support.certificates import make_certificate

LARGE = b"L" * 16 * KIB


class _Kernel:
    """A socket that holds what a client has sent, and what was sent to it."""

    def __init__(self) -> None:
        self.waiting = 0
        self.sent: list[bytes] = []
        self.room = 1000 * KIB
        """Octets that it takes now."""
        self.lost = False
        """Whether the client is gone."""

    def recv(self, most: int) -> bytes:
        """Give what there is."""
        octets = min(most, self.waiting)
        self.waiting -= octets
        return b"x" * octets

    def send(self, octets: memoryview) -> int:
        """Take what there is room for."""
        if self.lost:
            raise BrokenPipeError(EPIPE, "gone")
        taken = bytes(octets[: self.room])
        self.room -= len(taken)
        if not taken:
            raise BlockingIOError(EAGAIN, "full")
        self.sent.append(taken)
        return len(taken)

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - as sockets have it
        """Never block."""

    def fileno(self) -> int:
        """Have a number as sockets do."""
        return 99

    def shutdown(self, how: int) -> None:
        """Close as sockets do."""

    def close(self) -> None:
        """Close as sockets do."""


class _Turns(MemoryReactor):
    """A reactor whose turn ends when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self._ends: list[Callable[[], object]] = []
        self.lone: int | None = None

    def at_turn_end(self, call: Callable[[], object]) -> None:
        """Call it when the turn ends."""
        self._ends.append(call)

    def end_turn(self) -> None:
        """End the turn."""
        ends, self._ends = self._ends, []
        for end in ends:
            end()

    def callLater(self, *args: object) -> None:
        """Twisted tells later that a connection was cut; here nobody waits for it."""


class _Sizes(Protocol):
    """Notes how much came with each read."""

    def __init__(self) -> None:
        self.noted: list[int] = []
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        """Note it."""
        self.noted.append(len(data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note it."""
        del reason
        self.lost = True


class _Line:
    """A connection between a reactor and a kernel of ours."""

    def __init__(self, reactor: MemoryReactor | None = None) -> None:
        self.turns = _Turns()
        self.kernel = _Kernel()
        self.sizes = _Sizes()
        self.connection = PromptConnection(
            cast("Any", self.kernel),
            self.sizes,
            ("127.0.0.1", 1),
            cast("Any", None),
            1,
            cast("Any", reactor or self.turns),
        )

    def write(self, *pieces: bytes) -> None:
        """Write pieces one by one."""
        for piece in pieces:
            self.connection.write(piece)

    def sent(self) -> list[bytes]:
        """Tell what has left, each send for itself, since it was asked last."""
        sent, self.kernel.sent = self.kernel.sent, []
        return sent


def test_a_client_that_sends_much_is_read_in_larger_steps() -> None:
    """And in small ones again, as soon as it sends little: large buffers cost time."""
    line = _Line()

    for octets in (100 * KIB, 1000 * KIB, 0, 0, 0, 0, 100 * KIB):
        line.kernel.waiting += octets
        line.connection.doRead()

    first, *large, rest, again = line.sizes.noted
    assert first == again == 64 * KIB
    assert large == [256 * KIB] * 4
    assert rest == 12 * KIB


class TestWriting:
    """What a connection says, and when it leaves."""

    def test_what_is_said_in_one_turn_leaves_in_one_piece(self) -> None:
        """At the end of the turn, and without a question whether it may."""
        line = _Line()

        line.write(b"one ", b"two ", b"three")
        assert line.sent() == []
        line.turns.end_turn()
        assert line.sent() == [b"one two three"]
        line.write(b"four")
        line.turns.end_turn()

        assert line.sent() == [b"four"]
        assert not line.turns.writers

    def test_who_has_the_turn_alone_does_not_wait(self) -> None:
        """There is nobody whose words could leave together with its own."""
        line = _Line()
        line.turns.lone = line.kernel.fileno()

        line.write(b"one", b"two")
        assert line.sent() == [b"one", b"two"]

        line.turns.lone = line.kernel.fileno() + 1
        line.write(b"three")
        assert line.sent() == []

    def test_much_does_not_wait(self) -> None:
        """And it does not overtake what waits already."""
        line = _Line()

        line.write(LARGE)
        assert line.sent() == [LARGE]
        line.write(b"a", LARGE)
        assert line.sent() == [b"a" + LARGE]
        line.turns.end_turn()

        assert line.sent() == []

    def test_little_that_becomes_much_does_not_wait(self) -> None:
        """Nothing piles up in a long turn; what comes behind it waits anew."""
        line = _Line()

        line.write(*[b"x" * KIB] * 16, b"rest")
        assert line.sent() == [b"x" * 16 * KIB]
        line.turns.end_turn()

        assert line.sent() == [b"rest"]

    @pytest.mark.parametrize("octets", [b"a little", LARGE])
    def test_what_the_kernel_does_not_take_follows_in_order(self, octets: bytes) -> None:
        """A slow client gets every octet once."""
        line = _Line()
        line.kernel.room = 3

        line.write(octets, b"one")
        line.turns.end_turn()
        line.write(b"two")
        line.turns.end_turn()
        assert line.sent() == [octets[:3]]
        line.kernel.room = 1000 * KIB
        line.connection.doWrite()

        assert line.sent() == [octets[3:] + b"onetwo"]
        line.write(b"three")
        line.turns.end_turn()
        assert line.sent() == [b"three"]

    def test_a_full_kernel_is_asked_again_later(self) -> None:
        """It takes nothing, and the reactor is told that we wait for it."""
        line = _Line()
        line.kernel.room = 0

        line.write(b"late")
        line.turns.end_turn()
        assert line.turns.writers == {line.connection}
        line.kernel.room = 10
        line.connection.doWrite()

        assert line.sent() == [b"late"]
        assert not line.turns.writers

    def test_a_client_that_is_gone_is_noticed_by_the_reactor(self) -> None:
        """Whoever writes to it is not disturbed in the middle of its work."""
        line = _Line()
        line.kernel.lost = True

        line.write(b"hello?")
        line.turns.end_turn()

        assert line.turns.writers == {line.connection}
        assert isinstance(line.connection.doWrite(), Exception)

    def test_pieces_that_are_given_together_are_no_exception(self) -> None:
        """They follow what was written before them."""
        line = _Line()

        line.write(b"one ")
        line.connection.writeSequence([b"two ", b"three"])
        line.write(b" four")
        line.turns.end_turn()

        assert line.sent() == [b"one two three four"]

    def test_a_reactor_without_turns_sends_at_once(self) -> None:
        """The service works on any of Twisted's."""
        line = _Line(MemoryReactor())

        line.write(b"one", b"two")

        assert line.sent() == [b"one", b"two"]


class TestTheEnd:
    """What is said at the end of a connection."""

    def test_last_words_are_sent(self) -> None:
        """At once: then the connection is closed."""
        line = _Line()
        line.write(b"250 OK\r\n", b"221 Bye\r\n")

        line.connection.loseConnection()
        assert line.sent() == [b"250 OK\r\n221 Bye\r\n"]
        assert not line.sizes.lost
        line.turns.end_turn()

        assert line.sizes.lost
        assert not line.turns.writers

    def test_a_reactor_without_turns_closes_as_twisted_does(self) -> None:
        """It asks whether it may write."""
        line = _Line(MemoryReactor())

        line.connection.loseConnection()

        assert isinstance(line.connection.doWrite(), Exception)

    def test_what_is_said_behind_the_last_words_is_said(self) -> None:
        """As with Twisted: the connection is closed behind it."""
        line = _Line()

        line.connection.loseConnection()
        line.kernel.room = 0
        line.write(b"one more")
        line.turns.end_turn()
        line.turns.end_turn()
        line.kernel.room = 100

        assert not line.sizes.lost
        assert isinstance(line.connection.doWrite(), Exception)
        assert line.sent() == [b"one more"]

    def test_a_connection_that_was_cut_meanwhile_is_lost_once(self) -> None:
        """Twisted tells of it itself."""
        line = _Line()

        line.connection.loseConnection()
        line.connection.abortConnection()
        line.connection.connectionLost(Failure(ConnectionDone()))
        line.sizes.lost = False
        line.turns.end_turn()

        assert not line.sizes.lost

    def test_last_words_wait_for_a_slow_client(self) -> None:
        """The connection is closed behind the last one of them."""
        line = _Line()
        line.kernel.room = 3
        line.write(b"221 Bye\r\n")

        line.connection.loseConnection()
        line.turns.end_turn()
        line.kernel.room = 100

        assert isinstance(line.connection.doWrite(), Exception)
        assert line.sent() == [b"221", b" Bye\r\n"]

    def test_a_connection_that_is_cut_says_nothing_more(self) -> None:
        """Neither what waits nor what comes."""
        line = _Line()
        line.write(b"before")

        line.connection.abortConnection()
        line.write(b"after", LARGE)
        line.turns.end_turn()
        line.connection.doWrite()

        assert line.sent() == []

    def test_a_client_that_says_no_more_hears_what_was_said(self) -> None:
        """It ends its side and listens on; the answer was given in the same turn."""
        line = _Line()
        line.write(b"250 OK\r\n")

        line.connection.readConnectionLost(Failure(ConnectionDone()))
        line.turns.end_turn()

        assert line.sent() == [b"250 OK\r\n"]

    def test_nothing_is_said_behind_the_end(self) -> None:
        """Whoever does not know yet that the connection is lost may write."""
        line = _Line()

        line.connection.connectionLost(Failure(ConnectionDone()))
        line.write(b"hello?", LARGE)
        line.turns.end_turn()

        assert line.sent() == []


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
