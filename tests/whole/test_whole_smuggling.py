"""SMTP smuggling on the wire: no false end of a message lets a second one in."""

import socket

import pytest

from tests.support.daemon import Daemon
from tests.talk.test_smtp_hostile import FALSE_ENDS

SECOND = b"MAIL FROM:<admin@test.com>\r\nRCPT TO:<alice@test.com>\r\nDATA\r\n"
ENVELOPE = (
    b"EHLO a.example\r\nMAIL FROM:<x@a.example>\r\nRCPT TO:<bob@test.com>\r\nDATA\r\n",
    b"Subject: one\r\n\r\nfirst",
)


def replies(daemon: Daemon, octets: bytes, *, byte_by_byte: bool) -> bytes:
    """Send a whole session and give all that is answered."""
    said = b""
    with socket.create_connection(("127.0.0.1", daemon.ports["mx"]), timeout=20) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (
            [octets[at : at + 1] for at in range(len(octets))] if byte_by_byte else [octets]
        ):
            line.sendall(piece)
        while got := line.recv(65_536):
            said += got
    return said


@pytest.mark.parametrize("byte_by_byte", [False, True])
def test_no_false_end_lets_a_second_message_in(daemon: Daemon, byte_by_byte: bool) -> None:  # noqa: FBT001 - a column
    """Every published form, at once and octet by octet: refused, and nobody has got anything."""
    for false_end in FALSE_ENDS:
        session = b"".join((*ENVELOPE, false_end, SECOND, b"evil\r\n.\r\nQUIT\r\n"))

        said = replies(daemon, session, byte_by_byte=byte_by_byte)

        assert said.count(b"\r\n354 ") == 1, false_end
        assert b"\r\n550 5.6.11 " in said, false_end
        assert b"stored as" not in said, false_end
    for user in ("alice", "bob"):
        client = daemon.pop3(user)
        assert client.stat() == (0, 0)
        client.quit()
