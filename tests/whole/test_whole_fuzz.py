"""Two hundred thousand lines that no honest client would send."""

import random
import smtplib
import socket
from threading import Thread

from tests.support.daemon import Daemon, MakeDaemon, note

LINES = 200_000
CONNECTIONS = 10
BATCH = 20
MORE_MIB = 10
"""What its memory may grow by once the first half has filled its caches and its pools."""
SYNC = b"\r\n.\r\nRSET\r\nVRFY sync\r\n"
SYNCED = b"252 2.5.0"
"""Only VRFY is answered so; no other line says it."""
GOOD = [
    b"EHLO client.example",
    b"HELO client.example",
    b"MAIL FROM:<x@a.example> SIZE=100 BODY=8BITMIME SMTPUTF8",
    b"MAIL FROM:<>",
    b"RCPT TO:<bob@test.com>",
    b"RCPT TO:<@relay.example:bob@test.com>",
    b'RCPT TO:<"bob"@test.com>',
    b"RCPT TO:<postmaster>",
    b"DATA",
    b"BDAT 10",
    b"BDAT 3 LAST",
    b"RSET",
    b"NOOP anything",
    b"EXPN list",
    b"HELP",
    b"AUTH PLAIN AGEAYg==",
    b"AUTH LOGIN",
    b"STARTTLS now",
    b"Subject: a field",
    b".",
    b"..",
]
OCTETS = bytes(range(256))
CUTS = [b" ", b":", b"<", b">", b"=", b"@", b"\0", b"\r", b"\n", b"\xff\xfe", b"A" * 3000, b"%s%n"]


def mutated(chance: random.Random) -> bytes:
    """Make one line: a good one with mistakes, or any octets at all."""
    if chance.random() < 0.2:
        return bytes(chance.choices(OCTETS, k=chance.randrange(80)))
    line = bytearray(chance.choice(GOOD))
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(line) + 1)
        match chance.randrange(4):
            case 0:
                line[at:at] = chance.choice(CUTS)
            case 1:
                del line[at : at + chance.randrange(1, 6)]
            case 2:
                line[at : at + 1] = bytes([chance.randrange(256)])
            case _:
                line += line[: chance.randrange(20)]
    return bytes(line)


def torment(port: int, seed: int, lines: int) -> None:
    """Send lines until so many were answered; connect anew where the server has hung up."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    answered = 0
    while answered < lines:
        with socket.create_connection(("127.0.0.1", port), timeout=3) as line:
            line.sendall(GOOD[0] + b"\r\n")
            while answered < lines and _one_batch(line, chance):
                answered += BATCH


def _one_batch(line: socket.socket, chance: random.Random) -> bool:
    """Send a batch; False: the server waits for octets that never come, or has hung up."""
    tail = b""
    try:
        line.sendall(b"\r\n".join(mutated(chance) for _ in range(BATCH)) + SYNC)
        while SYNCED not in tail:
            got = line.recv(65_536)
            if not got:
                return False
            tail = tail[-20:] + got
    except OSError:
        return False
    return True


def test_no_lines_bring_the_server_down(make_daemon: MakeDaemon) -> None:
    """It stays up, its memory is flat, and mail that is sent meanwhile is all there."""
    daemon = make_daemon(
        settings={"smtp": {"most_errors": 1_000_000}, "log": {"level": "error"}}
    ).start()
    stored = send_among(daemon, tormentors(daemon, range(CONNECTIONS)))
    half, _ = daemon.memory()
    stored += send_among(daemon, tormentors(daemon, range(CONNECTIONS, 2 * CONNECTIONS)))
    after, most = daemon.memory()

    note(f"{LINES} lines; memory {half} MiB, then {after} MiB, at most {most} MiB")
    assert after - half < MORE_MIB
    assert "Traceback" not in daemon.output + daemon.errors
    client = daemon.pop3("alice")
    assert client.stat()[0] == stored
    client.quit()


def tormentors(daemon: Daemon, seeds: range) -> list[Thread]:
    """Make half of those who send nonsense, half of them to each listener."""
    return [
        Thread(
            target=torment,
            args=(daemon.ports["submission" if seed % 2 else "mx"], seed, LINES // 2 // len(seeds)),
        )
        for seed in seeds
    ]


def send_among(daemon: Daemon, others: list[Thread]) -> int:
    """Send honest mail while the others are at it; tell how many messages were accepted."""
    for one in others:
        one.start()
    stored = 0
    while any(one.is_alive() for one in others):
        with smtplib.SMTP("127.0.0.1", daemon.ports["mx"], timeout=60) as client:
            client.sendmail("x@a.example", ["alice@test.com"], f"Subject: {stored}\n\ntext\n")
        stored += 1
    for one in others:
        one.join()
    return stored
