"""A listening port whose connections write at once when they can."""

from twisted.internet import tcp


class PromptConnection(tcp.Server):
    """
    Tries to send before it asks the reactor whether it may.

    Twisted's own transport puts every reply into a buffer, asks epoll for the right to
    write, and writes on the next turn: three system calls more for each reply, though the
    socket of a client that waits for us is always writable.
    """

    def write(self, data: bytes) -> None:
        """Send what the kernel takes; what it does not take is buffered as usual."""
        if not self.connected or self.disconnecting or self.dataBuffer or self._tempDataLen:
            super().write(data)
            return
        sent = self.writeSomeData(data)
        if not isinstance(sent, int):
            sent = 0  # the connection is lost: the reactor finds out and says so
        if sent < len(data):
            super().write(data[sent:])


class PromptPort(tcp.Port):
    """Listens as ``reactor.listenTCP`` does."""

    transport = PromptConnection
