"""Argon2id (RFC 9106) and SCRAM keys on threads, and the memory of passwords just checked."""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from mailsvc.auth.scram import make_keys, write_keys
from mailsvc.config.settings import LoginSettings
from mailsvc.errors import TooBusy
from mailsvc.model.account import StoredPassword, Verifier

P = ParamSpec("P")
Result = TypeVar("Result")

MOST_WAITING = 500
"""Checks that may wait for a thread; each takes 20 to 50 ms."""
MOST_REMEMBERED = 20_000

_EASY = "abcdefghjkmnpqrstuvwxyz23456789"
"""No i, l, o, 0 or 1: they are mistaken for each other."""
_GROUPS, _GROUP = 4, 5

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)


def make_password() -> str:
    """Make a password that is easy to read out and to type: 20 characters, 99 bits."""
    groups = ("".join(secrets.choice(_EASY) for _ in range(_GROUP)) for _ in range(_GROUPS))
    return "-".join(groups)


def hash_password(password: bytes) -> str:
    """Make a verifier, PHC format; blocks for 20 to 50 ms."""
    return _HASHER.hash(password)


def make_scram(password: bytes, iterations: int) -> str:
    """Make keys for SCRAM-SHA-256 as the database has them; blocks for some 30 ms."""
    return write_keys(make_keys(password, iterations))


def store_password(password: bytes, iterations: int) -> StoredPassword:
    """Make all that is kept of a password; blocks for 50 to 100 ms."""
    return StoredPassword(hash_password(password), make_scram(password, iterations))


NOBODY = Verifier(id=0, hashed=hash_password(secrets.token_bytes()))  # type: ignore[arg-type]  # no row
"""Checked in place of an unknown user's verifier, so that time tells nothing."""


def _verify(verifier: Verifier, password: bytes) -> bool:
    try:
        return _HASHER.verify(verifier.hashed, password)
    except (VerificationError, InvalidHashError):
        return False


class Passwords:
    """
    Checks and makes passwords, a few at a time.

    A password that was right is remembered for a while as a keyed digest, so that a client
    that polls each minute does not pay the Argon2id each time. The memory holds the
    verifier that was checked: a changed password is asked for at once.

    Args:
        reactor: Whose thread gets the answers.
        clock: Tells how long something is remembered.
        settings: How many threads, and how long to remember.
    """

    def __init__(
        self, reactor: IReactorFromThreads, clock: IReactorTime, settings: LoginSettings
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._remember = settings.remember
        self._iterations = settings.scram_iterations
        self._pool = ThreadPool(1, settings.hashers, name="mailsvc hashers")
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._waiting = 0

    def use(self, settings: LoginSettings) -> None:
        """Hold to other settings from now on."""
        self._remember = settings.remember
        if not self._remember:
            self._right.clear()
        self._iterations = settings.scram_iterations
        self._pool.adjustPoolsize(1, settings.hashers)

    def start(self) -> None:
        """Start the threads."""
        self._pool.start()

    def stop(self) -> None:
        """End the threads; blocks until the checks under way are done."""
        self._pool.stop()

    async def matches(self, verifier: Verifier, password: bytes) -> bool:
        """
        Check a password.

        Raises:
            TooBusy: Too many checks wait already.
        """
        digest = self._digest(verifier, password)
        until = self._right.get(digest)
        if until is not None and self._clock.seconds() < until:
            return True
        right = await self._in_pool(_verify, verifier, password)
        if right and self._remember:
            self._right[digest] = self._clock.seconds() + self._remember
            if len(self._right) > MOST_REMEMBERED:
                self._right.popitem(last=False)
        return right

    async def make(self, password: bytes) -> StoredPassword:
        """
        Make what is kept of a new password.

        Raises:
            TooBusy: Too many checks wait already.
        """
        return await self._in_pool(store_password, password, self._iterations)

    async def make_scram(self, password: bytes) -> str:
        """Make the keys for SCRAM-SHA-256 alone; same errors as ``make``."""
        return await self._in_pool(make_scram, password, self._iterations)

    @property
    def idle(self) -> bool:
        """Whether no check is under way or waits."""
        return self._waiting == 0

    def _digest(self, verifier: Verifier, password: bytes) -> bytes:
        known = b"\0".join((str(verifier.id).encode(), verifier.hashed.encode(), password))
        return hmac.digest(self._key, known, sha256)

    async def _in_pool(
        self, work: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs
    ) -> Result:
        if self._waiting >= MOST_WAITING:
            raise TooBusy
        self._waiting += 1
        try:
            return await deferToThreadPool(self._reactor, self._pool, work, *args, **kwargs)
        finally:
            self._waiting -= 1
