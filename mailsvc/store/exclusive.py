"""Keep a second daemon away from an SQLite database: an advisory lock beside it."""

import fcntl
import os
from pathlib import Path

from mailsvc.errors import StartError


def lock_beside(database: Path) -> Path:
    """Name the lock file of an SQLite database: the same for the daemon and for mailctl."""
    return database.with_name(f"{database.name}.lock")


class Exclusive:
    """
    The right of this process to an SQLite file; the kernel takes it back when we die.

    Args:
        path: The lock file; it stays when the lock goes, for removing it would race.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """
        Take the lock.

        Raises:
            StartError: Another daemon has it, or the folder cannot be written to.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartError(
                f"{self._path}: cannot be written ({error.strerror}); "
                "give the state folder to the user of the daemon"
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise StartError(
                f"{self._path}: another mailsvc (process {holder}) uses this database; "
                "stop it first, or give this one its own state folder"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; harmless when it was not taken."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
