"""Our client against real servers: our own daemon, and Postfix."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, free_ports, installed, require, run, wait_until

TEXT = b"Subject: dots\r\n\r\n" + b".\r\n..\r\n.x\r\nline\r\n" * 40_000


def _send(port: int, tls: str, path: Path, *names: str) -> Any:
    program = [sys.executable, "-m", "tests.support.send_one", str(port), tls, str(path), *names]
    done = run(program, folder=Path(__file__).parents[2])
    assert done.status == 0, done.errors
    return json.loads(done.output)


@pytest.mark.parametrize("tls", ["plain", "tls"])
def test_a_message_arrives_octet_for_octet(daemon: Daemon, tmp_path: Path, tls: str) -> None:
    """In one BDAT of many reads; who does not exist is told."""
    path = tmp_path / "mail"
    path.write_bytes(TEXT)

    sent = _send(daemon.ports["mx"], tls, path, "alice@test.com", "nobody@test.com")

    assert [(one[0], one[1]) for one in sent["fates"]] == [("done", "2.0.0"), ("bounce", "5.1.1")]
    assert bool(sent["cipher"]) == (tls == "tls")
    assert "BDAT" in sent["said"]
    with closing(daemon.pop3("alice")) as drop:
        got = b"\r\n".join(drop.retr(1)[1]) + b"\r\n"
    assert got.endswith(b"\r\n" + TEXT)


@contextmanager
def _sink(*options: str) -> Iterator[int]:
    """Run Postfix's smtp-sink."""
    require(os.geteuid() == 0, "smtp-sink changes its user")
    [port] = free_ports(1)
    place = f"127.0.0.1:{port}"
    with subprocess.Popen([installed("smtp-sink"), "-u", "nobody", *options, place, "8"]) as sink:
        try:
            wait_until(lambda: _listens(port), "smtp-sink")
            yield port
        finally:
            sink.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ((), "done"),
        (("-e",), "done"),
        (("-p",), "done"),
        (("-f", "RCPT"), "bounce"),
        (("-r", "MAIL"), "later"),
        (("-r", "DATA"), "later"),
        (("-r", "."), "later"),
        (("-f", "."), "bounce"),
        (("-q", "."), "unknown"),
    ],
)
def test_postfix_hears_what_it_expects(
    tmp_path: Path, options: tuple[str, ...], outcome: str
) -> None:
    """With and without ESMTP and pipelining, refusing here and there, and hanging up."""
    path = tmp_path / "mail"
    path.write_bytes(TEXT[:100_000] + b"\r\n")
    with _sink(*options) as port:
        sent = _send(port, "plain", path, "bob@far.example", "carl@far.example")

    assert {one[0] for one in sent["fates"]} == {outcome}, sent
