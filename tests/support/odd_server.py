"""Servers that answer as no server should, each in a thread of its own."""

import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mailsvc.config.settings import CertificateSettings

PATIENCE = 20.0


_REFUSALS = {"deaf": b"550 5.1.1 nobody\r\n", "rude": b"550 5.1.1 no\0body\x1b[2J\r\n"}


@dataclass
class OddServer:
    """
    A server with one oddity.

    Args:
        mood: ``inject``: says more than it was asked behind STARTTLS, in the clear. ``cut``:
            hangs up behind the final dot, once. ``later``: 450 to each recipient, once.
            ``busy``: 421 to each second message on a connection. ``crowded``: bears two
            connections. ``deaf``: knows nobody. ``rude``: says so with a NUL. ``none``: works.
        offers: What EHLO says.
        tls: Its certificate, which brings STARTTLS; None: it has no TLS.
    """

    mood: str = "none"
    offers: tuple[str, ...] = ("8BITMIME",)
    tls: CertificateSettings | None = None
    messages: list[bytes] = field(default_factory=list)
    connections: int = 0
    commands: list[bytes] = field(default_factory=list)
    port: int = 0
    open: int = 0
    _odd: bool = True

    def once(self, mood: str) -> bool:
        """Whether it is in a mood, for the first time."""
        if self.mood == mood and self._odd:
            self._odd = False
            return True
        return False

    def serve(self, listener: socket.socket) -> None:
        """Take connections until the listener is closed."""
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(line,), daemon=True).start()

    def _talk(self, line: socket.socket) -> None:
        line.settimeout(PATIENCE)
        self.open += 1
        with line, line.makefile("rb") as heard:
            try:
                self._converse(line, heard)
            except OSError:
                return
            finally:
                self.open -= 1

    def _converse(self, line: socket.socket, heard: Iterable[bytes]) -> None:
        if self.mood == "crowded" and self.open > 2:
            line.sendall(b"421 too many connections\r\n")
            return
        line.sendall(b"220 odd.example ESMTP\r\n")
        self._obey(line, heard, secure=False)

    def _obey(self, line: socket.socket, heard: Iterable[bytes], *, secure: bool) -> None:
        done = 0
        for command in heard:
            verb = command.split()[0].upper() if command.strip() else b""
            self.commands.append(command.rstrip())
            if verb == b"MAIL" and self.mood == "busy" and done:
                line.sendall(b"421 enough for one connection\r\n")
                return
            if verb == b"DATA":
                line.sendall(b"354 go on\r\n")
                self.messages.append(_content(heard))
                done += 1
                if self.once("cut"):
                    return
            line.sendall(self._answer(verb, secure=secure))
            if verb == b"STARTTLS" and self.tls is not None:
                self._switch_to_tls(line, self.tls)
                return
            if verb == b"QUIT":
                return

    def _switch_to_tls(self, line: socket.socket, files: CertificateSettings) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        with context.wrap_socket(line, server_side=True) as secret, secret.makefile("rb") as heard:
            self._obey(secret, heard, secure=True)

    def _answer(self, verb: bytes, *, secure: bool) -> bytes:
        if verb == b"EHLO":
            starttls = self.mood == "inject" or (self.tls is not None and not secure)
            offers = ("odd.example", *self.offers, *(["STARTTLS"] if starttls else []))
            return "".join([*(f"250-{one}\r\n" for one in offers), "250 HELP\r\n"]).encode()
        if verb == b"STARTTLS" and self.mood != "inject":
            return b"220 go\r\n"
        if verb == b"STARTTLS":
            return b"220 go\r\n250-odd\r\n250 AUTH PLAIN\r\n250 ok\r\n250 ok\r\n"
        if verb == b"RCPT" and self.mood in _REFUSALS:
            return _REFUSALS[self.mood]
        if verb == b"RCPT" and self.once("later"):
            return b"450 4.2.0 greylisted\r\n"
        return b"250 2.0.0 ok\r\n"


def _content(heard: Iterable[bytes]) -> bytes:
    lines: list[bytes] = []
    for one in heard:
        if one == b".\r\n":
            break
        lines.append(one)
    return b"".join(lines)


@contextmanager
def odd_server(
    mood: str = "none", address: str = "127.0.0.1", port: int = 0, **more: Any
) -> Iterator[OddServer]:
    """
    Run one.

    Args:
        port: Where it listens; 0: anywhere.
        more: As ``OddServer`` takes it.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family) as listener:
        server = OddServer(mood, port=listener.getsockname()[1], **more)
        threading.Thread(target=server.serve, args=(listener,), daemon=True).start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
