"""A listening port whose connections write at once when they can, and read much at once."""

import sys
import termios
from collections.abc import Iterable
from errno import ENOBUFS
from fcntl import ioctl
from typing import Any

from twisted.internet import tcp
from twisted.internet._newtls import startTLS
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from mailsvc.config.units import KIB
from mailsvc.wire.turns import at_turn_end

_READ = 64 * KIB
_READ_MUCH = 256 * KIB
_MUCH = 16 * KIB
"""Octets that do not wait for the end of the turn."""


class _Prompt(tcp.Connection):
    """
    Sends at the end of the reactor's turn, without asking whether it may, and reads in large steps.

    Twisted's own transport puts every reply into a buffer, asks epoll for the right to
    write, and writes on the next turn: three system calls more for each reply, though the
    socket of a client that waits for us is always writable. What all connections have to say
    in a turn leaves together: each of the first words to a client that sleeps on this machine
    costs us its waking, and the next ones find it awake.

    A client that has filled its buffer gets a larger one: a large message takes a quarter
    of the reactor's turns. Others do not, for a buffer so large comes from the kernel and
    goes back to it: 15 us for each read.
    """

    bufferSize = _READ
    _shouldShutdown = False  # closing does the same: nobody else has the socket
    _held = b""
    """What is sent at the end of the turn."""

    def write(self, data: bytes) -> None:
        """Send what the kernel takes; what it does not take is buffered as usual."""
        if not self.TLS:
            self.write_soon(data)
        elif self.connected:
            # Past the buffer of BufferingTLSTransport, which waits for the next turn to join
            # small writes: ours are joined already.
            TLSMemoryBIOProtocol.write(self.protocol, data)  # type: ignore[arg-type]  # TLS is on

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send pieces as one: what waits must not be overtaken in a buffer of Twisted's."""
        self.write(b"".join(iovec))

    def startTLS(self, ctx: Any, normal: bool = True) -> None:  # noqa: FBT001, FBT002 - Twisted's
        """Begin TLS; what it writes is sent as soon."""
        startTLS(self, ctx, normal, _BelowTls)

    def loseConnection(self, *args: Any) -> None:
        """
        Say the last words now, and close at the end of the turn.

        Twisted asks epoll whether it may write, though there is nothing to write, and closes
        then: three system calls and a turn more.
        """
        self._send_held()
        if self.TLS or self._is_filled or not at_turn_end(self.reactor, self._close):
            super().loseConnection(*args)

    @property
    def _is_filled(self) -> bool:
        """Whether something waits in Twisted's own buffer."""
        return bool(self.dataBuffer or self._tempDataLen or self.disconnecting)

    def _close(self) -> None:
        self._send_held()
        if self._is_filled:
            super().loseConnection()
        elif self.connected and not self._aborting:
            self.connectionLost(connectionDone)  # one for all: making it costs as much as the rest

    def abortConnection(self) -> None:
        """Say nothing any more."""
        self._held = b""
        super().abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        """Say what was said before: who has only ended his own side still listens."""
        self._send_held()
        super().connectionLost(reason)

    def write_soon(self, data: bytes) -> None:
        """Send octets as they are: a few at the end of the turn, many at once."""
        if self._aborting:
            return  # Twisted's buffer would keep them, the kernel would not
        if self._held:
            self._held += data
            if len(self._held) >= _MUCH:
                self._send_held()
        elif len(data) < _MUCH and self._may_wait():
            self._held = data
        else:
            self._send(data)

    def _may_wait(self) -> bool:
        """Whether there is somebody else in this turn; if so, its end will be told."""
        reactor: Any = self.reactor
        try:
            lone = reactor.lone
        except AttributeError:
            return False  # One of Twisted's own.
        if lone is not None and lone == self.fileno():
            return False
        reactor.at_turn_end(self._send_held)
        return True

    def _send_held(self) -> None:
        held, self._held = self._held, b""
        if held:
            self._send(held)

    def _send(self, data: bytes) -> None:
        """Send what the kernel takes, unless something waits in Twisted's own buffer."""
        sent = 0
        if self.connected and not (self.dataBuffer or self._tempDataLen or self.disconnecting):
            done = self.writeSomeData(data)
            # No number: the connection is lost; the reactor finds out and says so.
            sent = done if isinstance(done, int) else 0
        if sent < len(data):
            FileDescriptor.write(self, data[sent:])

    def unread_octets(self) -> int:
        """
        Tell how many octets were written that the client's host has not acknowledged.

        Where the kernel does not tell (Linux does: SIOCOUTQ), only those that it has not taken.
        """
        if not self.connected:
            return 0
        ours = len(self._held) + len(self.dataBuffer) - self.offset + self._tempDataLen
        try:
            queued = ioctl(self.fileno(), termios.TIOCOUTQ, bytes(4))
        except OSError:
            return ours
        return ours + int.from_bytes(queued, sys.byteorder)

    # The two below are Twisted's, with three calls less each: they run for every command.

    def doRead(self) -> ConnectionLost | ConnectionDone | None:  # type: ignore[override]  # Twisted's two classes differ
        """Read, and expect of the next read what this one gave."""
        try:
            data = self.socket.recv(self.bufferSize)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        octets = len(data)
        if octets == self.bufferSize:
            self.bufferSize = _READ_MUCH
        elif octets < _READ:
            self.bufferSize = _READ
        self.protocol.dataReceived(data)
        return None

    def writeSomeData(self, data: bytes) -> int | ConnectionLost:
        """Send as much as the kernel takes; give how much that was, or why the end has come."""
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            return 0 if error.errno == ENOBUFS else CONNECTION_LOST


class PromptConnection(_Prompt, tcp.Server):
    """One that came to us."""


class PromptClient(_Prompt, tcp.Client):
    """One that we have made."""


def _write_below(connection: _Prompt, data: bytes) -> None:
    connection.write_soon(data)


def _lose_below(connection: _Prompt) -> None:
    # Twisted asks a producer that is paused for more when all is sent, and closes never.
    FileDescriptor.unregisterProducer(connection)
    FileDescriptor.loseConnection(connection)


class _BelowTls(FileDescriptor):
    """The methods by which TLS reaches the socket; never an instance."""

    write = _write_below
    loseConnection = _lose_below


class PromptPort(tcp.Port):
    """Listens as ``reactor.listenTCP`` does."""

    transport = PromptConnection


class _PromptConnector(tcp.Connector):
    def _makeTransport(self) -> PromptClient:
        return PromptClient(self.host, self.port, self.bindAddress, self, self.reactor)


class PromptConnecting:
    """
    Connects as ``reactor.connectTCP`` does; for Twisted's endpoints.

    Args:
        reactor: Twisted's.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: Any = None,  # noqa: N803 - Twisted's
    ) -> tcp.Connector:
        """Begin to connect."""
        connector = _PromptConnector(host, port, factory, timeout, bindAddress, self._reactor)
        connector.connect()
        return connector
