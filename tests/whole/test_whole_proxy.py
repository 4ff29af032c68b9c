"""Behind a proxy: the PROXY header on real sockets, in the clear and in front of TLS."""

import socket
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.support.daemon import Daemon, MakeDaemon, free_ports, wait_until

HERE = "127.0.0.1"
CLIENT = "198.51.100.9"
V1 = f"PROXY TCP4 {CLIENT} 127.0.0.1 4321 25\r\n".encode()
V2 = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11"
    + struct.pack("!H", 12 + 5)
    + socket.inet_aton(CLIENT)
    + socket.inet_aton(HERE)
    + struct.pack("!HH", 4321, 25)
    + b"\x04\0\x02\0\0"
)
HEADERS = pytest.mark.parametrize("header", [V1, V2])
KINDS: dict[str, dict[str, Any]] = {
    "proxied": {"kind": "smtp"},
    "proxied_submissions": {"kind": "submission", "tls": "implicit"},
    "proxied_pop3": {"kind": "pop3"},
    "proxied_pop3s": {"kind": "pop3", "tls": "implicit"},
}


@pytest.fixture
def daemon(make_daemon: MakeDaemon) -> Daemon:
    """Start a daemon with listeners for a proxy on this machine."""
    daemon = make_daemon(
        settings={
            "tls": {"handshake_timeout": 2},
            "login": {"without_tls": "never"},
            "smtp": {"greeting_delay": 0},
            "log": {"level": "debug"},
        }
    )
    for (name, kind), port in zip(KINDS.items(), free_ports(len(KINDS)), strict=True):
        daemon.add_listener(name, {**kind, "port": port, "proxies": ["127.0.0.1/32"]})
    return daemon.start()


class Line:
    """One connection, with or without TLS."""

    def __init__(self, daemon: Daemon, name: str) -> None:
        self.socket = socket.create_connection((HERE, daemon.ports[name]), 10)
        self._trust = daemon.state / "tls/certificate.pem"

    def says(self, octets: bytes, answer: bytes) -> "Line":
        """Send octets and hear how the answer begins."""
        self.socket.sendall(octets)
        return self.hears(answer)

    def hears(self, answer: bytes) -> "Line":
        """Hear how the next answer begins."""
        heard = self.socket.recv(4096)
        assert heard.startswith(answer), heard
        return self

    def begins_tls(self) -> "Line":
        """Agree on TLS."""
        context = ssl.create_default_context(cafile=self._trust)
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        return self

    def is_closed(self) -> None:
        """Hear nothing but the end."""
        with suppress(ConnectionResetError):
            assert self.socket.recv(100) == b""
        self.socket.close()


def log_of(daemon: Daemon) -> str:
    """Read everything in the log."""
    return "".join(path.read_text() for path in sorted(daemon.state.glob("log/*")))


def received_from(daemon: Daemon) -> str:
    """Let Bob read where his only message came from."""
    line = Line(daemon, "pop3").hears(b"+OK").says(b"STLS\r\n", b"+OK").begins_tls()
    line.says(b"USER bob@test.com\r\n", b"+OK")
    line.says(b"PASS " + daemon.passwords["bob"].encode() + b"\r\n", b"+OK")
    line.socket.sendall(b"RETR 1\r\n")
    heard = b""
    while not heard.endswith(b"\r\n.\r\n"):
        heard += line.socket.recv(4096)
    line.socket.close()
    return heard.partition(b"\r\n\r\n")[0].decode()


def send_a_letter(line: Line) -> None:
    """Send Bob a message."""
    line.says(b"EHLO client.example\r\n", b"250")
    line.says(b"MAIL FROM:<x@a.example>\r\n", b"250")
    line.says(b"RCPT TO:<bob@test.com>\r\n", b"250").says(b"DATA\r\n", b"354")
    line.says(b"Subject: Hello\r\n\r\nHello.\r\n.\r\n", b"250").says(b"QUIT\r\n", b"221")
    line.socket.close()


def in_pieces(line: Line, octets: bytes) -> None:
    """Send each octet in a segment of its own."""
    line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for octet in octets:
        line.socket.sendall(bytes((octet,)))
        time.sleep(0.002)


def at_once(line: Line, octets: bytes) -> None:
    """Send all in one segment."""
    line.socket.sendall(octets)


@HEADERS
@pytest.mark.parametrize("send", [at_once, in_pieces])
def test_a_message_is_traced_to_its_client(
    daemon: Daemon, header: bytes, send: Callable[[Line, bytes], None]
) -> None:
    """Not to the proxy."""
    line = Line(daemon, "proxied")
    send(line, header)
    send_a_letter(line.hears(b"220 "))

    assert CLIENT in received_from(daemon)


@HEADERS
def test_the_header_comes_before_starttls(daemon: Daemon, header: bytes) -> None:
    """A client behind the proxy switches to TLS."""
    line = Line(daemon, "proxied").says(header, b"220 ").says(b"EHLO a.example\r\n", b"250")
    send_a_letter(line.says(b"STARTTLS\r\n", b"220").begins_tls())

    trace = received_from(daemon)
    assert CLIENT in trace
    assert "ESMTPS" in trace


@HEADERS
@pytest.mark.parametrize("name", ["proxied_submissions", "proxied_pop3s"])
def test_the_header_comes_before_implicit_tls(daemon: Daemon, header: bytes, name: str) -> None:
    """In the clear; then TLS; then the greeting."""
    line = Line(daemon, name)
    line.socket.sendall(header)
    line.begins_tls().hears(b"220 " if "submissions" in name else b"+OK")

    line.says(b"QUIT\r\n", b"221" if "submissions" in name else b"+OK")
    line.socket.close()


@HEADERS
def test_a_login_is_logged_with_its_client(daemon: Daemon, header: bytes) -> None:
    """Limits and logs are about clients, not about the proxy."""
    line = Line(daemon, "proxied_pop3").says(header, b"+OK").says(b"STLS\r\n", b"+OK").begins_tls()
    line.says(b"USER bob@test.com\r\n", b"+OK")
    line.says(b"PASS " + daemon.passwords["bob"].encode() + b"\r\n", b"+OK")
    line.socket.close()

    wait_until(lambda: f'"client": "{CLIENT}"' in log_of(daemon), "the client in the log")


@pytest.mark.parametrize("name", list(KINDS))
def test_without_a_header_nobody_is_greeted(daemon: Daemon, name: str) -> None:
    """Who says something else is closed at once, who says nothing soon; the log tells of both."""
    wrong = Line(daemon, name)
    wrong.socket.sendall(b"EHLO client.example\r\n")
    wrong.is_closed()
    began = time.monotonic()
    Line(daemon, name).is_closed()

    assert 1.9 < time.monotonic() - began < 10
    wait_until(lambda: daemon.output.count("no PROXY header from 127.0.0.1") == 2, "two lines")


def test_an_unknown_client_is_the_proxy(daemon: Daemon) -> None:
    """Its health checks."""
    send_a_letter(Line(daemon, "proxied").says(b"PROXY UNKNOWN\r\n", b"220 "))

    assert "[127.0.0.1]" in received_from(daemon)


def test_other_listeners_take_no_header(daemon: Daemon) -> None:
    """Else anybody could take any address."""
    line = Line(daemon, "mx").hears(b"220 ").says(V1, b"500 ")
    line.socket.close()
