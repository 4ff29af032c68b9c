"""
Measure a broadcast: seconds, octets on the disk, and what other mail waits meanwhile.

There is no peer in the run: none of them has such a thing.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from smtplib import SMTP
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.errors import Unexpected
from bench.mailsvc_server import Mailsvc
from bench.private_folder import private_folder
from mailsvc.model.address import parse_address
from mailsvc.model.ids import IdSource
from mailsvc.store.accounts import NewAccount, add_account
from mailsvc.store.engine import open_engines

_LETTER = b"Subject: holidays\n\n" + b"All of us have a week off.\n" * 150
_MIB = 1 << 20


@click.command()
@click.option("--users", type=click.IntRange(min=1), default=100_000, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), default=Path("/var/tmp"))  # noqa: S108
@click.option("--keep", is_flag=True, help="Leave the files there.")
def main(users: int, folder: Path, *, keep: bool) -> None:
    """Broadcast 4 KiB to all users of an SQLite database, while other mail comes in."""
    with private_folder(folder, keep=keep) as private:
        server = Mailsvc(private / "mailsvc")
        server.start()
        server.stop()
        _populate(server.folder / "state" / "mailsvc.db", users)
        before = _octets(server.folder / "state")
        server.start()
        try:
            seconds, slowest, sent = _measure(server)
        finally:
            server.stop()
        grown = _octets(server.folder / "state") - before
    click.echo(f"{sent['delivered']:,} of {sent['mailboxes']:,} mailboxes in {seconds:.1f} s")
    click.echo(f"{grown / _MIB:.1f} MiB more on the disk, {grown / users:.0f} octets a mailbox")
    click.echo(f"the slowest of other deliveries meanwhile took {slowest * 1000:.0f} ms")
    if sent["delivered"] != sent["mailboxes"]:
        raise Unexpected("somebody did not get it")


def _populate(database: Path, users: int) -> None:
    engines, ids = open_engines(f"sqlite:///{database}", 1, 1), IdSource(9)
    try:
        with engines.write.begin() as conn:
            for number in range(users):
                address = parse_address(f"person{number}@test.com")
                add_account(conn, ids, NewAccount(address=address, hashed="none"))
    finally:
        engines.close()


def _measure(server: Mailsvc) -> tuple[float, float, dict[str, Any]]:
    letter = server.folder / "letter.eml"
    letter.write_bytes(_LETTER)
    mailctl = Path(sys.executable).with_name("mailctl")
    command: list[str | Path] = [
        mailctl,
        "-c",
        server.folder / "config.yaml",
        "broadcast",
        "send",
        "--all",
    ]
    slowest, began = 0.0, time.monotonic()
    with subprocess.Popen(
        [*command, "--eml", letter, "--yes", "--json"], stdout=subprocess.PIPE, cwd=server.folder
    ) as sending:
        with SMTP("127.0.0.1", server.smtp_port) as client:
            while sending.poll() is None:
                slowest = max(slowest, _deliver(client))
        seconds = time.monotonic() - began
        assert sending.stdout is not None  # noqa: S101 - there is a pipe
        if sending.returncode:
            raise Unexpected("mailctl failed; it has said why")
        sent: dict[str, Any] = json.load(sending.stdout)
    return seconds, slowest, sent


def _deliver(client: SMTP) -> float:
    """Deliver a small message, and wait a little."""
    began = time.monotonic()
    client.sendmail("x@example.org", ["u0@test.com"], b"Subject: other\r\n\r\ntext\r\n")
    took = time.monotonic() - began
    time.sleep(0.05)
    return took


def _octets(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("mailsvc.db*"))


if __name__ == "__main__":
    main()
