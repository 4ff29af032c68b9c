"""Fill and read Maildirs."""

import os
from collections.abc import Iterable
from pathlib import Path

from bench import messages

OWNER = 5000
"""Number of the user and group who own all mail; they need no name."""
_ARRIVED = 1_764_000_000


def fill(folder: Path, tokens: Iterable[bytes]) -> None:
    """Put messages into the Maildir *folder* under the names that Dovecot's LMTP would give."""
    for part in (folder, folder / "new", folder / "cur", folder / "tmp"):
        part.mkdir(parents=True, exist_ok=True)
        os.chown(part, OWNER, OWNER)
    for token in tokens:
        _write(folder / "new", token.decode(), messages.content(token))


def tokens(folder: Path) -> list[bytes]:
    """
    Name the messages of a Maildir, each read and compared whole.

    Raises:
        Damaged: One is not what was sent.
    """
    parts = [part for name in ("new", "cur") if (part := folder / name).is_dir()]
    return [messages.check(file.read_bytes()) for part in parts for file in part.iterdir()]


def _write(folder: Path, name: str, content: bytes) -> None:
    lines = content.replace(b"\r\n", b"\n")
    # S and W spare Dovecot from reading a message to know its octets.
    whole_name = f"{_ARRIVED}.{name}.bench,S={len(lines)},W={len(content)}"
    file = os.open(folder / whole_name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(file, lines)
    os.fchown(file, OWNER, OWNER)
    os.close(file)
