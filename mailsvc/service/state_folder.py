"""The state folder: made when missing, checked, and kept from a second daemon."""

import os
import tempfile
from pathlib import Path

from mailsvc.errors import StartError
from mailsvc.store.engine import sqlite_file
from mailsvc.store.exclusive import Exclusive, lock_beside


class StateFolder:
    """
    The folder that holds everything the service writes besides a server's database.

    Args:
        path: Where it is.
        database_url: Its lock is taken when it is an SQLite file.
    """

    def __init__(self, path: Path, database_url: str) -> None:
        self._path = path
        self._file = file = sqlite_file(database_url)
        self._exclusive = None if file is None else Exclusive(lock_beside(file))

    def open(self) -> None:
        """
        Make it ready.

        Raises:
            StartError: It cannot be written to, or another daemon uses the database.
        """
        try:
            self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=self._path) as probe:
                probe.write(b"mailsvc")
        except OSError as error:
            raise StartError(
                f"{self._path}: the state folder cannot be written to ({error.strerror}); "
                f"{_cure(error)}"
            ) from None
        if self._exclusive is not None and self._file is not None:
            self._exclusive.take()
            _make_private(self._file)

    def close(self) -> None:
        """Let another daemon use it."""
        if self._exclusive is not None:
            self._exclusive.release()


def _make_private(file: Path) -> None:
    """Make the database file before SQLite does: nobody else may read the mail in it."""
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StartError(f"{file}: cannot be opened ({error.strerror}); {_cure(error)}") from None


def _cure(error: OSError) -> str:
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "it is no folder: move it away, or set state in config.yaml to another place"
    if isinstance(error, PermissionError):
        return f"give it to the user {os.geteuid()}, or set state in config.yaml to another place"
    return "make room or mend the disk, or set state in config.yaml to another place"
