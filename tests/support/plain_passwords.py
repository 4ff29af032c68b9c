"""Passwords that are checked at once, with verifiers that a test can read."""

from typing import Any

from twisted.internet.task import Clock

from mailsvc.auth.passwords import Passwords
from mailsvc.auth.scram import make_keys, write_keys
from mailsvc.config.settings import LoginSettings
from mailsvc.model.account import StoredPassword, Verifier

ROUNDS = 4096
"""Of SCRAM keys: the fewest that RFC 7677 allows."""


class _NoThreads(Clock):
    """A reactor for parts whose threads never run."""

    def callFromThread(self, *_call: object) -> None:
        """Say that a thread runs after all."""
        raise AssertionError("a thread runs")


def plainly(password: bytes) -> str:
    """Write a verifier that a test can read."""
    return f"plain:{password.decode('utf-8', 'replace')}"


def scram_keys(password: bytes) -> str:
    """Make SCRAM keys as the database has them."""
    return write_keys(make_keys(password, ROUNDS))


class PlainPasswords(Passwords):
    """Checks and makes them on the test's thread; ``checked`` is each one that was looked at."""

    def __init__(self) -> None:
        reactor: Any = _NoThreads()
        super().__init__(reactor, reactor, LoginSettings())
        self.checked: list[bytes] = []
        self.trouble: Exception | None = None

    async def matches(self, verifier: Verifier, password: bytes) -> bool:
        """Check one; fails when it shall."""
        if self.trouble is not None:
            raise self.trouble
        self.checked.append(password)
        return verifier.hashed == plainly(password)

    async def make(self, password: bytes) -> StoredPassword:
        """Make what is kept of one."""
        return StoredPassword(plainly(password), scram_keys(password))

    async def make_scram(self, password: bytes) -> str:
        """Make SCRAM keys."""
        return scram_keys(password)
