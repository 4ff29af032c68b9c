"""
Drive many client connections with epoll, as cheaply as Python can.

A dialogue is a generator: it writes to its line, yields the test that tells
whether enough was heard, and is resumed with what was heard. Neither Twisted
nor asyncio is used: the load must not share the costs of what it measures.
"""

import select
import socket
import ssl
from collections.abc import Callable, Generator, Iterable
from typing import TypeAlias, TypeVar

from bench.errors import Unexpected

Result = TypeVar("Result")
Enough: TypeAlias = Callable[[bytearray], bool]
Talk: TypeAlias = Generator[Enough, bytearray, Result]

_SILENCE = 120.0
"""Seconds without an octet on any line after which the server counts as stuck."""
_READ = 65536

_TLS = ssl.create_default_context()
_TLS.check_hostname = False
_TLS.verify_mode = ssl.CERT_NONE  # The servers' certificates are their own.


def _is_secure(line: "Line") -> Enough:
    return lambda _: line.secure


class Exchange:
    """The lines of one load, all to the same port of 127.0.0.1."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.poll = select.epoll()
        self.lines: dict[int, Line] = {}

    def converse(self, talks: Iterable[tuple["Line", Talk[None]]]) -> None:
        """
        Hold all dialogues at the same time, until the last is over.

        Raises:
            Unexpected: A dialogue cannot go on.
            OSError: A connection failed.
        """
        talking = sum([line.begin(talk) for line, talk in talks])
        while talking:
            events = self.poll.poll(_SILENCE)
            if not events:
                raise Unexpected(f"The server was silent for {_SILENCE:.0f} seconds")
            for number, event in events:
                line = self.lines[number]
                if event & select.EPOLLOUT:
                    line.send_more()
                if event & ~select.EPOLLOUT and not line.hear():
                    talking -= 1


class Line:
    """One client; it may connect anew after each close."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._socket = socket.socket()
        self._unsent = memoryview(b"")
        self._heard = bytearray()
        self._talk: Talk[None] | None = None
        self._enough: Enough | None = None
        self._came = ssl.MemoryBIO()
        self._goes = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self.secure = False
        """Whether TLS is agreed on."""

    def connect(self) -> None:
        """Open a connection; the greeting tells whether that worked."""
        self._tls, self.secure = None, False
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.connect_ex(("127.0.0.1", self._exchange.port))
        self._exchange.lines[self._socket.fileno()] = self
        self._exchange.poll.register(self._socket, select.EPOLLIN)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def begin(self, talk: Talk[None]) -> bool:
        """Begin a dialogue; False when it is over without a word from the server."""
        self._talk = talk
        self._enough = next(talk, None)
        return self._enough is not None

    def start_tls(self) -> Talk[None]:
        """Agree on TLS."""
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _TLS.wrap_bio(self._came, self._goes)
        self._shake_hands(self._tls)
        yield _is_secure(self)

    def send(self, octets: bytes) -> None:
        """Send what the socket takes now, and the rest when it takes more."""
        if self._tls is not None:
            self._tls.write(octets)
            octets = self._goes.read()
        self._send(octets)

    def _send(self, octets: bytes) -> None:
        if self._unsent:
            self._unsent = memoryview(bytes(self._unsent) + octets)
            return
        try:
            sent = self._socket.send(octets)
        except BlockingIOError:
            sent = 0
        if sent < len(octets):
            self._unsent = memoryview(octets)[sent:]
            self._exchange.poll.modify(self._socket, select.EPOLLIN | select.EPOLLOUT)

    def _shake_hands(self, tls: ssl.SSLObject) -> None:
        try:
            tls.do_handshake()
            self.secure = True
        except ssl.SSLWantReadError:
            pass
        if octets := self._goes.read():
            self._send(octets)

    def _decrypt(self, tls: ssl.SSLObject, octets: bytes) -> bytes:
        self._came.write(octets)
        if not self.secure:
            self._shake_hands(tls)
        plain = b""
        try:
            while self.secure and (more := tls.read(_READ)):
                plain += more
        except ssl.SSLWantReadError:
            pass
        return plain

    def send_more(self) -> None:
        """Go on sending."""
        self._unsent = self._unsent[self._socket.send(self._unsent) :]
        if not self._unsent:
            self._exchange.poll.modify(self._socket, select.EPOLLIN)

    def hear(self) -> bool:
        """Take in what came; False when the dialogue is over."""
        octets = self._socket.recv(_READ)
        if not octets or self._talk is None or self._enough is None:
            said = bytes(self._heard[-200:] + octets)
            raise Unexpected(f"The server hung up, or spoke unasked: {said!r}")
        self._heard += octets if self._tls is None else self._decrypt(self._tls, octets)
        if not self._enough(self._heard):
            return True
        heard, self._heard = self._heard, bytearray()
        try:
            self._enough = self._talk.send(heard)
        except StopIteration:
            self._talk = self._enough = None
            return False
        return True
