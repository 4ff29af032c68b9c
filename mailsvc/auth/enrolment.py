"""Give old credentials their SCRAM keys, at a login that says the password."""

from collections.abc import Awaitable, Callable

from mailsvc.auth.passwords import Passwords
from mailsvc.auth.scram import read_keys
from mailsvc.background import Background
from mailsvc.errors import MailError
from mailsvc.model.account import Verifier
from mailsvc.model.ids import CredentialId


class Enrolment:
    """
    Makes keys in the background, when nobody waits for the threads.

    Args:
        passwords: Makes them.
        keep: Writes them down for a credential.
        iterations: Rounds that keys should have; others are made anew.
    """

    def __init__(
        self,
        passwords: Passwords,
        keep: Callable[[Verifier, str], Awaitable[None]],
        iterations: int,
    ) -> None:
        self._passwords = passwords
        self._keep = keep
        self.iterations = iterations
        """Rounds that keys should have."""
        self._under_way: set[CredentialId] = set()
        self.background = Background()
        """Drain it before the database stops."""

    def learn(self, verifier: Verifier, password: bytes) -> None:
        """Use a password that was right; the next login will do when there is no time now."""
        keys = read_keys(verifier.scram or "")
        if keys is not None and keys.iterations == self.iterations:
            return
        if verifier.id in self._under_way or not self._passwords.idle:
            return
        self._under_way.add(verifier.id)
        self.background.start(self._make(verifier, password), "making SCRAM keys")

    async def _make(self, verifier: Verifier, password: bytes) -> None:
        try:
            await self._keep(verifier, await self._passwords.make_scram(password))
        except MailError:
            pass  # the next login tries again
        finally:
            self._under_way.discard(verifier.id)
