"""Everything that lets users in: passwords, those who guess them, and the ways to log in."""

import secrets
from collections.abc import Mapping
from typing import Any

from twisted.cred.portal import Portal
from zope.interface import Interface

from mailsvc.auth.authenticator import Authenticator
from mailsvc.auth.checkers import AccountChecker, ProofChecker
from mailsvc.auth.enrolment import Enrolment
from mailsvc.auth.guard import LoginGuard
from mailsvc.auth.passwords import Passwords
from mailsvc.auth.prover import Prover
from mailsvc.auth.realm import Door, MailRealm
from mailsvc.auth.sasl import KeyBook
from mailsvc.config.settings import Settings
from mailsvc.model.account import Verifier
from mailsvc.model.story import Tell
from mailsvc.service.rules import Rules
from mailsvc.service.upkeep import Upkeep
from mailsvc.store.accounts import set_scram_keys
from mailsvc.store.database import Database
from mailsvc.store.directory import Directory


class Logins:
    """
    Puts the parts together.

    Args:
        database: Where keys are written down.
        directory: Knows the accounts.
        reactor: Has the clock and the threads.
        settings: Limits of logins.
        doors: Where users get to, by front end.
        upkeep: Notes when somebody was here.
        rules: Keep users out.
        tell: Takes down who was refused.
    """

    def __init__(
        self,
        *,
        database: Database,
        directory: Directory,
        reactor: Any,
        settings: Settings,
        doors: Mapping[type[Interface], Door],
        upkeep: Upkeep,
        rules: Rules,
        tell: Tell,
    ) -> None:
        self._database, self._directory = database, directory
        login = settings.login
        self.secret = secrets.token_bytes(32)
        """What all nodes share: makes the keys of users who are none."""
        self.passwords = Passwords(reactor, reactor, login)
        self._guard = LoginGuard(reactor.seconds, login, settings.limits.exempt)
        self._enrolment = Enrolment(self.passwords, self._keep_scram, login.scram_iterations)
        checker = AccountChecker(directory, self.passwords, self._guard, self._enrolment.learn)
        self.prover = Prover(checker, directory)
        """Checks passwords outside of mail sessions."""
        realm = MailRealm(directory, doors, upkeep.logged_in, rules.lets_in)
        self.portal = Portal(realm, (checker, ProofChecker()))
        self._book = KeyBook(directory, self._guard, login.scram_iterations, lambda: self.secret)
        scopes = {interface: door.scope for interface, door in doors.items()}
        self.authenticator = Authenticator(self.portal, self._book, scopes, tell)

    def use(self, settings: Settings) -> None:
        """Hold to other settings from now on."""
        self.passwords.use(settings.login)
        self._guard.use(settings.login, settings.limits.exempt)
        self._enrolment.iterations = settings.login.scram_iterations
        self._book.iterations = settings.login.scram_iterations

    async def drain(self) -> None:
        """Wait until nothing is made in the background any more."""
        await self._enrolment.background.drain()

    async def _keep_scram(self, verifier: Verifier, scram: str) -> None:
        """Add SCRAM keys to an old credential."""
        await self._database.write(set_scram_keys, verifier, scram)
        self._directory.forget()
