"""Logins: passwords, the checker, the realm."""

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.mail.smtp import IMessageDelivery
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from mailsvc.auth.checkers import AccountChecker, WrongPassword
from mailsvc.auth.credentials import ClientPassword
from mailsvc.auth.guard import LoginGuard
from mailsvc.auth.passwords import Passwords, hash_password, make_password, store_password
from mailsvc.auth.realm import Door, MailRealm, NotAllowed
from mailsvc.config.settings import LoginSettings
from mailsvc.errors import TooBusy
from mailsvc.model.account import Account, Scope, Verifier
from mailsvc.model.envelope import Client
from mailsvc.model.ids import CredentialId
from tests.support.smtp_talk import MemoryDirectory

P = ParamSpec("P")
Result = TypeVar("Result")

SECRET = b"open sesame"
HASHED = hash_password(SECRET)
CLIENT = Client("192.0.2.7", 50_000)


class CountingPasswords(Passwords):
    """Checks at once instead of on a thread, and counts how often."""

    def __init__(self, clock: Clock, remember: float = 300.0) -> None:
        super().__init__(clock, clock, LoginSettings(remember=remember))  # type: ignore[arg-type]  # no thread is started
        self.checks = 0

    async def _in_pool(
        self, work: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs
    ) -> Result:
        self.checks += 1
        return work(*args, **kwargs)


class House:
    """Alice with a password, a checker and a realm with a door for SMTP."""

    def __init__(self, remember: float = 300.0) -> None:
        self.clock = Clock()
        self.passwords = CountingPasswords(self.clock, remember)
        self.directory = MemoryDirectory()
        self.give_password(HASHED)
        guard = LoginGuard(self.clock.seconds, LoginSettings())
        self.learnt: list[tuple[Verifier, bytes]] = []
        learn = lambda *right: self.learnt.append(right)  # noqa: E731 - one line
        self.checker = AccountChecker(self.directory, self.passwords, guard, learn)
        self.noted: list[Account] = []
        door = Door(Scope.SMTP, self._receive)
        self.realm = MailRealm(self.directory, {IMessageDelivery: door}, self.noted.append)
        self.portal = Portal(self.realm, (self.checker,))

    def give_password(self, hashed: str) -> None:
        """Set Alice's password."""
        alice = self.directory.accounts["alice@test.com"]
        verifier = Verifier(CredentialId(1), hashed)
        self.directory.accounts["alice@test.com"] = replace(alice, verifiers=(verifier,))

    async def _receive(self, account: Account) -> tuple[Account, Callable[[], None]]:
        return account, lambda: None

    def log_in(self, name: bytes, password: bytes, scope: Scope = Scope.SMTP) -> object:
        """Log in; gives the account, or the class of the failure."""
        answer: Deferred[Any] = self.portal.login(
            ClientPassword(name, password, CLIENT, scope), None, IMessageDelivery
        )
        found: list[Any] = []
        _ = answer.addBoth(found.append)
        [result] = found
        return result.type if isinstance(result, Failure) else result[1]


def test_no_log_shows_a_password() -> None:
    """Not even one that writes down all that it has."""
    assert "secret" not in repr(ClientPassword(b"alice", b"secret", CLIENT, Scope.SMTP))


def test_providers_keep_their_interfaces() -> None:
    """What ``twisted.cred`` asks of a checker and a realm."""
    house = House()

    assert verifyObject(ICredentialsChecker, house.checker)
    assert verifyObject(IRealm, house.realm)


@pytest.mark.parametrize("name", [b"alice@test.com", b"ALICE@Test.com", b"alice"])
def test_the_right_password_opens(name: bytes) -> None:
    """The full address in any case, or the local part alone for the first domain."""
    house = House()

    assert house.log_in(name, SECRET) == house.directory.accounts["alice@test.com"]
    assert len(house.noted) == 1


@pytest.mark.parametrize(
    "name", [b"alice@test.com", b"nobody@test.com", b"a b c", b"\xff\xfe", b"", b"postmaster"]
)
def test_a_wrong_password_and_an_unknown_user_are_one_answer(name: bytes) -> None:
    """And they take as long: something is always checked."""
    house = House()

    assert house.log_in(name, b"wrong") is WrongPassword
    assert house.passwords.checks == 1


def test_postmaster_is_no_name_to_log_in_with() -> None:
    """It finds an administrator's mailbox, not the administrator."""
    assert House().log_in(b"postmaster", SECRET) is WrongPassword


def test_a_right_password_is_remembered_for_a_while() -> None:
    """A client that polls each minute does not pay the hash each time."""
    house = House(remember=300)
    house.log_in(b"alice", SECRET)
    house.log_in(b"alice", SECRET)
    assert house.passwords.checks == 1

    house.clock.advance(301)
    house.log_in(b"alice", SECRET)

    assert house.passwords.checks == 2


def test_a_wrong_password_is_never_remembered() -> None:
    """Nor does it profit from a right one."""
    house = House()
    house.log_in(b"alice", SECRET)

    assert house.log_in(b"alice", b"wrong") is WrongPassword
    assert house.log_in(b"alice", b"wrong") is WrongPassword
    assert house.passwords.checks == 3


def test_a_changed_password_is_asked_for_at_once() -> None:
    """The memory holds the verifier that was checked."""
    house = House()
    house.log_in(b"alice", SECRET)

    house.give_password(hash_password(b"another"))

    assert house.log_in(b"alice", SECRET) is WrongPassword
    assert house.log_in(b"alice", b"another") == house.directory.accounts["alice@test.com"]


def test_remembering_can_be_switched_off() -> None:
    """``login.remember: 0 s``."""
    house = House(remember=0)
    house.log_in(b"alice", SECRET)
    house.log_in(b"alice", SECRET)

    assert house.passwords.checks == 2


def test_a_switched_off_account_stays_outside() -> None:
    """Disabled as a whole, or for this front end."""
    house = House()
    alice = house.directory.accounts["alice@test.com"]

    house.directory.accounts["alice@test.com"] = replace(alice, enabled=False)
    assert house.log_in(b"alice", SECRET) is NotAllowed
    house.directory.accounts["alice@test.com"] = replace(alice, scopes=frozenset({Scope.POP3}))
    assert house.log_in(b"alice", SECRET) is NotAllowed
    assert house.noted == []


def test_too_many_checks_are_put_off() -> None:
    """The hash costs time and memory: an attacker must not buy all of both."""
    passwords = Passwords(Clock(), Clock(), LoginSettings())  # type: ignore[arg-type]  # no thread is started
    passwords._waiting = 500  # noqa: SLF001 - as if so many were under way

    answer: Deferred[Any] = Deferred.fromCoroutine(passwords.make(SECRET))

    found: list[Any] = []
    _ = answer.addErrback(lambda failure: found.append(failure.type))
    assert found == [TooBusy]


def test_made_passwords_are_long_and_easy_to_type() -> None:
    """No two alike, no letter that looks like another."""
    made = {make_password() for _ in range(100)}

    assert len(made) == 100
    for password in made:
        assert not set(password) & set("0O1lI")
        assert len(password.replace("-", "")) >= 16


def test_the_hash_is_argon2id() -> None:
    """RFC 9106, in the PHC format."""
    assert HASHED.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert base64.b64encode(SECRET).decode() not in HASHED


def test_all_that_is_kept_of_a_password_is_made_at_once() -> None:
    """An Argon2id verifier and keys for SCRAM, with as many rounds as the setting says."""
    stored = store_password(SECRET, 4096)

    assert stored.hashed.startswith("$argon2id$")
    assert str(stored.scram).startswith("SCRAM-SHA-256$4096:")
    assert stored.scram != store_password(SECRET, 4096).scram


def test_a_credential_opens_only_what_it_is_good_for() -> None:
    """A password made for collecting mail does not send any."""
    house = House()
    alice = house.directory.accounts["alice@test.com"]
    verifier = Verifier(CredentialId(1), HASHED, scopes=frozenset({Scope.POP3}))
    house.directory.accounts["alice@test.com"] = replace(alice, verifiers=(verifier,))

    assert house.log_in(b"alice", SECRET) is WrongPassword


def test_a_right_password_is_passed_on_to_whom_may_learn_it() -> None:
    """SCRAM keys are made of it; a wrong one is told nobody."""
    house = House()
    house.log_in(b"alice", b"wrong")
    house.log_in(b"alice", SECRET)

    assert [password for _, password in house.learnt] == [SECRET]


def test_a_verifier_does_not_show_its_secrets() -> None:
    """Whatever is logged of an account."""
    assert "argon2" not in repr(Verifier(CredentialId(1), HASHED, "SCRAM-SHA-256$..."))
