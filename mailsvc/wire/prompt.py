"""A listening port whose connections write at once when they can, and read much at once."""

from typing import Any

from twisted.internet import tcp
from twisted.internet._newtls import startTLS
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol

from mailsvc.config.units import KIB

_READ = 64 * KIB
_READ_MUCH = 256 * KIB


class PromptConnection(tcp.Server):
    """
    Tries to send before it asks the reactor whether it may, and reads in large steps.

    Twisted's own transport puts every reply into a buffer, asks epoll for the right to
    write, and writes on the next turn: three system calls more for each reply, though the
    socket of a client that waits for us is always writable.

    A client that has filled its buffer gets a larger one: a large message takes a quarter
    of the reactor's turns. Others do not, for a buffer so large comes from the kernel and
    goes back to it: 15 us for each read.
    """

    bufferSize = _READ

    def write(self, data: bytes) -> None:
        """Send what the kernel takes; what it does not take is buffered as usual."""
        if not self.TLS:
            _write_at_once(self, data)
        elif self.connected:
            # Past the buffer of BufferingTLSTransport, which waits for the next turn to join
            # small writes: ours are joined already.
            TLSMemoryBIOProtocol.write(self.protocol, data)  # type: ignore[arg-type]  # TLS is on

    def startTLS(self, ctx: Any, normal: bool = True) -> None:  # noqa: FBT001, FBT002 - Twisted's
        """Begin TLS; what it writes is sent at once as well."""
        startTLS(self, ctx, normal, _BelowTls)

    def _dataReceived(self, data: bytes | None) -> ConnectionDone | None:
        """Expect of the next read what this one gave."""
        octets = len(data or b"")
        if octets == self.bufferSize:
            self.bufferSize = _READ_MUCH
        elif octets < _READ:
            self.bufferSize = _READ
        return super()._dataReceived(data)


def _write_at_once(connection: tcp.Connection, data: bytes) -> None:
    """Send octets as they are."""
    if (
        not connection.connected
        or connection.disconnecting
        or connection.dataBuffer
        or connection._tempDataLen  # noqa: SLF001 - Twisted's own subclasses look there
    ):
        FileDescriptor.write(connection, data)
        return
    sent = connection.writeSomeData(data)
    if not isinstance(sent, int):
        sent = 0  # the connection is lost: the reactor finds out and says so
    if sent < len(data):
        FileDescriptor.write(connection, data[sent:])


class _BelowTls(FileDescriptor):
    """The methods by which TLS reaches the socket; never an instance."""

    write = _write_at_once


class PromptPort(tcp.Port):
    """Listens as ``reactor.listenTCP`` does."""

    transport = PromptConnection
