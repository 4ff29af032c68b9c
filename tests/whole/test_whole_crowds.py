"""Many clients at once: memory stays small, nothing is lost, everybody is served."""

import os
import resource
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from smtplib import SMTP

import pytest

from tests.support.daemon import Daemon, MakeDaemon, note, require, wait_until
from tests.support.load import Load, stored_tokens

LONG = bool(os.environ.get("MAILSVC_LONG"))
MIB = 1024 * 1024


def test_large_messages_do_not_fill_the_memory(daemon: Daemon) -> None:
    """
    Clients that all send the largest message at once need disk, not memory.

    100 clients with 25 MB each where MAILSVC_LONG is set, 40 with 8 MB elsewhere.
    """
    senders, octets = (100, 25_000_000) if LONG else (40, 8_000_000)
    began = time.monotonic()

    load = Load(daemon.ports["mx"], "large", senders=senders, octets=octets, most=1)
    ledger = load.start().finish(600)

    took = time.monotonic() - began
    now, most = daemon.memory()
    note(f"{senders} x {octets} octets: {took:.1f} s, {now} MiB, at most {most} MiB")
    assert len(ledger.accepted) == senders
    ledger.check(stored_tokens(daemon.database)[0])
    assert most < 400


@pytest.fixture
def many_files() -> Iterator[None]:
    """Allow as many open files as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    require(hard == resource.RLIM_INFINITY or hard > 10_500, f"only {hard} open files are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_idle(daemon: Daemon, count: int, stack: ExitStack) -> int:
    """Open connections, half SMTP and half POP3, and count the greetings that come."""
    greeted = 0
    with selectors.DefaultSelector() as waiting:
        for number in range(count):
            port = daemon.ports["mx" if number % 2 else "pop3"]
            line = stack.enter_context(socket.socket())
            line.bind((f"127.0.0.{2 + number % 8}", 0))
            line.settimeout(30)
            line.connect(("127.0.0.1", port))
            waiting.register(line, selectors.EVENT_READ)
        while greeted < count and (ready := waiting.select(10)):
            for key, _ in ready:
                greeted += os.read(key.fd, 512).startswith((b"220", b"+OK"))
                waiting.unregister(key.fileobj)
    return greeted


@pytest.mark.usefixtures("many_files")
def test_ten_thousand_idle_clients_disturb_nobody(make_daemon: MakeDaemon) -> None:
    """Each costs little memory, and a new client is served as quickly as ever."""
    # As most shells and supervisors start programs: with 1024 files, but leave for more.
    daemon = make_daemon(prefix=["sh", "-c", 'ulimit -Sn 1024; exec "$@"', "sh"]).start()
    with ExitStack() as stack:
        began = time.monotonic()
        greeted = open_idle(daemon, 10_000, stack)
        took = time.monotonic() - began
        now, most = daemon.memory()
        answered = answer_time(daemon)
        note(
            f"10,000 connections: {took:.1f} s, {now} MiB, at most {most} MiB, "
            f"a new client is done in {answered * 1000:.0f} ms"
        )

        assert greeted == 10_000
        assert most < 300
        assert answered < 1.0
    wait_until(lambda: sessions(daemon) == 0, "the end of all sessions")
    assert daemon.stop() == 0


def answer_time(daemon: Daemon) -> float:
    """Send and list one message, and tell the seconds that it took."""
    began = time.monotonic()
    with SMTP("127.0.0.1", daemon.ports["mx"], timeout=30) as client:
        client.sendmail("x@example.com", ["bob@test.com"], b"Subject: one\r\n\r\ntext\r\n")
    user = daemon.pop3("bob")
    assert user.stat()[0] == 1
    user.quit()
    return time.monotonic() - began


def sessions(daemon: Daemon) -> int:
    """Count the open sessions of all listeners."""
    told = daemon.mailctl("status", "--json").parsed
    return sum(int(one["sessions"]) for one in told["listeners"])
