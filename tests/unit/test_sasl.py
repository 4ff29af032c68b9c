"""Ways to log in, without a protocol around them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.mail.pop3 import IMailbox
from twisted.mail.smtp import IMessageDelivery
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from mailsvc.auth.authenticator import Authenticator
from mailsvc.auth.checkers import AccountChecker, ProofChecker, WrongPassword
from mailsvc.auth.enrolment import Enrolment
from mailsvc.auth.guard import HeldUp, LoginGuard
from mailsvc.auth.realm import Door, MailRealm, NotAllowed
from mailsvc.auth.sasl import KeyBook
from mailsvc.auth.scram import make_keys, read_keys, write_keys
from mailsvc.config.settings import LoginSettings
from mailsvc.config.units import Rate
from mailsvc.errors import BadResponse, ChannelBindingFailed, StorageFailed, TooBusy
from mailsvc.interfaces import IAuthenticator, IExchange
from mailsvc.model.account import Account, Scope, Verifier
from mailsvc.model.channel import PLAIN_TEXT, Channel
from mailsvc.model.envelope import Client
from mailsvc.model.ids import CredentialId
from mailsvc.model.login import Challenge, LoggedIn
from mailsvc.model.story import Happening
from tests.support.plain_passwords import ROUNDS, PlainPasswords, plainly, scram_keys
from tests.support.scram_client import ScramClient
from tests.support.smtp_talk import PASSWORD, MemoryDirectory

ALICE = "alice@test.com"
CLIENT = Client("192.0.2.7", 50_000)
TLS = Channel(
    secure=True,
    cipher="TLS_AES_128_GCM_SHA256",
    version="TLSv1.3",
    bindings={"tls-exporter": b"exported", "tls-server-end-point": b"digest"},
)
PLUS, SCRAM = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"


class House:
    """Alice, Bob and Carol, who is disabled; doors for SMTP and POP3."""

    def __init__(
        self, failures: Rate | None = None, directory: MemoryDirectory | None = None
    ) -> None:
        self.clock = Clock()
        self.directory = directory or MemoryDirectory()
        self.passwords = PlainPasswords()
        login = LoginSettings(failures_per_client=failures, failures_per_account=None)
        self.guard = LoginGuard(self.clock.seconds, login)
        self.kept: list[tuple[Verifier, str]] = []
        self.trouble: Exception | None = None
        self.gate: Deferred[None] | None = None
        self.enrolment = Enrolment(self.passwords, self._keep, ROUNDS)
        doors = {
            IMessageDelivery: Door(Scope.SMTP, self._receive),
            IMailbox: Door(Scope.POP3, self._receive),
        }
        checker = AccountChecker(self.directory, self.passwords, self.guard, self.enrolment.learn)
        portal = Portal(MailRealm(self.directory, doors), (checker, ProofChecker()))
        book = KeyBook(self.directory, self.guard, ROUNDS, lambda: b"secret")
        scopes = {interface: door.scope for interface, door in doors.items()}
        self.told: list[Happening] = []
        self.authenticator = Authenticator(portal, book, scopes, self.told.append)

    async def _keep(self, verifier: Verifier, scram: str) -> None:
        if self.gate is not None:
            await self.gate
        if self.trouble is not None:
            raise self.trouble
        self.kept.append((verifier, scram))

    async def _receive(self, account: Account) -> tuple[Account, Callable[[], None]]:
        return account, lambda: None

    def give(self, *verifiers: Verifier) -> None:
        """Set Alice's credentials."""
        self.directory.accounts[ALICE] = replace(
            self.directory.accounts[ALICE], verifiers=verifiers
        )

    def begin(
        self, mechanism: str, channel: Channel = PLAIN_TEXT, interface: Any = IMessageDelivery
    ) -> IExchange:
        """Begin a login."""
        found = self.authenticator.begin(mechanism, CLIENT, channel, interface)
        assert found is not None
        return found

    def log_in(
        self, client: ScramClient, channel: Channel = PLAIN_TEXT, interface: Any = IMessageDelivery
    ) -> Any:
        """Log in by SCRAM."""
        exchange = self.begin(PLUS if client.header[0] == "p" else SCRAM, channel, interface)
        challenge = step(exchange, client.first)
        assert step(exchange, client.final(challenge)) == client.server_final
        return step(exchange, b"")


def step(exchange: IExchange, response: bytes) -> Any:
    """Take a step: gives octets of a challenge, or the avatar; raises the error."""
    found: list[Any] = []
    _ = Deferred.fromCoroutine(exchange.step(response)).addBoth(found.append)
    [result] = found
    if isinstance(result, Failure):
        result.raiseException()
    if isinstance(result, Challenge):
        return result.octets
    assert isinstance(result, LoggedIn)
    return result.avatar


def plain(name: str, password: bytes) -> bytes:
    """Write the response of PLAIN."""
    return b"\0" + name.encode() + b"\0" + password


@pytest.mark.parametrize("name", [PLUS, SCRAM, "PLAIN", "LOGIN"])
def test_providers_keep_their_interfaces(name: str) -> None:
    """What front ends call."""
    house = House()

    assert verifyObject(IAuthenticator, house.authenticator)
    assert verifyObject(IExchange, house.begin(name, TLS))


def test_binding_is_offered_where_there_is_something_to_bind_to() -> None:
    """Strongest first: clients take the first one they know."""
    house = House()

    assert house.authenticator.mechanisms(PLAIN_TEXT) == [SCRAM, "PLAIN", "LOGIN"]
    assert house.authenticator.mechanisms(TLS) == [PLUS, SCRAM, "PLAIN", "LOGIN"]
    assert house.authenticator.begin(PLUS, CLIENT, PLAIN_TEXT, IMessageDelivery) is None
    assert house.authenticator.begin("CRAM-MD5", CLIENT, TLS, IMessageDelivery) is None


@pytest.mark.parametrize("name", ["alice@test.com", "ALICE@Test.com", "alice"])
def test_scram_lets_in(name: str) -> None:
    """The user in any spelling, without the password on the wire."""
    house = House()

    assert house.log_in(ScramClient(name, PASSWORD)) == house.directory.accounts[ALICE]
    assert house.passwords.checked == []


@pytest.mark.parametrize(
    ("kind", "bound"), [("tls-exporter", b"exported"), ("tls-server-end-point", b"digest")]
)
def test_scram_bound_to_its_channel_lets_in(kind: str, bound: bytes) -> None:
    """RFC 5802 section 6."""
    house = House()
    client = ScramClient(ALICE, PASSWORD, header=f"p={kind},,", bound=bound)

    assert house.log_in(client, TLS) == house.directory.accounts[ALICE]


def test_a_login_through_somebody_in_the_middle_fails() -> None:
    """He has a connection of his own, and the client names that one."""
    house = House()
    client = ScramClient(ALICE, PASSWORD, header="p=tls-exporter,,", bound=b"his")
    exchange = house.begin(PLUS, TLS)

    with pytest.raises(ChannelBindingFailed):
        step(exchange, client.final(step(exchange, client.first)))


def test_hiding_the_binding_fails() -> None:
    """A client that was told there is none says so; RFC 5802 section 6."""
    with pytest.raises(ChannelBindingFailed):
        step(House().begin(SCRAM, TLS), ScramClient(ALICE, PASSWORD, header="y,,").first)

    house = House()
    client = ScramClient(ALICE, PASSWORD, header="y,,")
    assert house.log_in(client) == house.directory.accounts[ALICE]


@pytest.mark.parametrize("name", [ALICE, "nobody@test.com", "a b c", "postmaster", "n=,o"])
def test_nobody_learns_who_exists(name: str) -> None:
    """Each name gets a salt, the same one each time, and the same end."""
    house = House()
    salts = set()
    for _ in range(2):
        client, exchange = ScramClient(name, b"wrong"), house.begin(SCRAM)
        challenge = step(exchange, client.first)
        salts.add(challenge.partition(b",")[2])
        with pytest.raises(WrongPassword, match="User name or password is wrong"):
            step(exchange, client.final(challenge))

    [salt] = salts
    assert salt.endswith(b"==,i=%d" % ROUNDS)


def test_a_user_without_keys_is_asked_like_the_others() -> None:
    """And fails, whatever the proof."""
    house = House()
    house.give(Verifier(CredentialId(1), plainly(PASSWORD)))

    with pytest.raises(WrongPassword):
        house.log_in(ScramClient(ALICE, PASSWORD))


def test_a_right_proof_for_a_disabled_account_is_refused() -> None:
    """As a right password is."""
    with pytest.raises(NotAllowed):
        House().log_in(ScramClient("carol@test.com", PASSWORD))


@pytest.mark.parametrize("who", ["bob@test.com", "alice"])
def test_nobody_acts_for_somebody_else(who: str) -> None:
    """RFC 4422 section 3.4.1; not even under another spelling of the own name."""
    house = House()

    with pytest.raises(WrongPassword):
        step(house.begin("PLAIN"), who.encode() + plain(ALICE, PASSWORD))
    with pytest.raises(WrongPassword):
        step(house.begin(SCRAM), ScramClient(ALICE, PASSWORD, header=f"n,a={who},").first)


def test_the_own_name_may_be_said_twice() -> None:
    """Some clients fill in the authzid."""
    house = House()

    assert step(house.begin("PLAIN"), ALICE.encode() + plain(ALICE, PASSWORD))
    assert house.log_in(ScramClient(ALICE, PASSWORD, header=f"n,a={ALICE},"))


def test_something_behind_the_end_of_scram_is_refused() -> None:
    """The last response is empty; RFC 4422 section 3.6."""
    house, client = House(), ScramClient(ALICE, PASSWORD)
    exchange = house.begin(SCRAM)
    step(exchange, client.final(step(exchange, client.first)))

    with pytest.raises(BadResponse):
        step(exchange, b"more")


@pytest.mark.parametrize(
    ("interface", "scopes"), [(IMessageDelivery, {Scope.POP3}), (IMailbox, {Scope.SMTP})]
)
def test_a_credential_opens_only_what_it_is_good_for(interface: Any, scopes: set[Scope]) -> None:
    """A password made for collecting mail does not send any."""
    house = House()
    house.give(
        Verifier(CredentialId(1), plainly(PASSWORD), scram_keys(PASSWORD), frozenset(scopes))
    )
    other = IMailbox if interface is IMessageDelivery else IMessageDelivery

    with pytest.raises(WrongPassword):
        step(house.begin("PLAIN", interface=interface), plain(ALICE, PASSWORD))
    with pytest.raises(WrongPassword):
        house.log_in(ScramClient(ALICE, PASSWORD), interface=interface)
    assert step(house.begin("PLAIN", interface=other), plain(ALICE, PASSWORD))
    assert house.log_in(ScramClient(ALICE, PASSWORD), interface=other)


def test_every_password_with_the_salt_that_was_told_is_good() -> None:
    """Others cannot be asked for: SCRAM tells one salt."""
    house = House()
    keys = [
        make_keys(word, ROUNDS, salt) for word, salt in ((b"a", b"s"), (b"b", b"s"), (b"c", b"t"))
    ]
    house.give(*(Verifier(CredentialId(n), "-", write_keys(one)) for n, one in enumerate(keys, 1)))

    assert house.log_in(ScramClient(ALICE, b"a"))
    assert house.log_in(ScramClient(ALICE, b"b"))
    with pytest.raises(WrongPassword):
        house.log_in(ScramClient(ALICE, b"c"))


def _tries(house: House) -> Sequence[Callable[[], object]]:
    """Give a wrong login of each kind."""

    def by_login() -> None:
        exchange = house.begin("LOGIN")
        step(exchange, ALICE.encode())
        step(exchange, b"wrong")

    return (
        lambda: step(house.begin("PLAIN"), plain(ALICE, b"wrong")),
        by_login,
        lambda: house.log_in(ScramClient(ALICE, b"wrong")),
    )


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_guessing_is_held_up_before_anything_is_looked_at(kind: int) -> None:
    """Whatever the mechanism; then not even the right password is."""
    house = House(Rate(3, 3600.0))
    for _ in range(3):
        with pytest.raises(WrongPassword):
            _tries(house)[kind]()
    checked = len(house.passwords.checked)

    with pytest.raises(HeldUp, match="Too many failed logins; try again in 20 minutes"):
        step(house.begin("PLAIN"), plain(ALICE, PASSWORD))
    with pytest.raises(HeldUp):
        step(house.begin(SCRAM), ScramClient(ALICE, PASSWORD).first)
    assert len(house.passwords.checked) == checked
    house.clock.advance(3600)
    assert house.log_in(ScramClient(ALICE, PASSWORD))


def test_many_proofs_at_once_are_no_more_tries() -> None:
    """A thousand conversations that were begun in time do not all get to their end."""
    house = House(Rate(3, 3600.0))
    client = ScramClient(ALICE, b"wrong")
    begun = [house.begin(SCRAM) for _ in range(10)]
    challenges = [step(one, client.first) for one in begun]
    ends = []
    for one, challenge in zip(begun, challenges, strict=True):
        with pytest.raises((WrongPassword, HeldUp)) as caught:
            step(one, client.final(challenge))
        ends.append(caught.type)

    assert ends == [WrongPassword] * 3 + [HeldUp] * 7


class TestEnrolment:
    """SCRAM keys of credentials that have none."""

    def test_the_first_login_with_a_password_makes_them(self) -> None:
        """From then on the user need not say it any more."""
        house = House()
        old = Verifier(CredentialId(1), plainly(PASSWORD))
        house.give(old)

        assert step(house.begin("PLAIN"), plain(ALICE, PASSWORD))

        [(verifier, text)] = house.kept
        assert verifier == old
        house.give(replace(old, scram=text))
        assert house.log_in(ScramClient(ALICE, PASSWORD))
        assert step(house.begin("PLAIN"), plain(ALICE, PASSWORD))
        assert len(house.kept) == 1

    def test_a_wrong_password_makes_none(self) -> None:
        """Of course."""
        house = House()
        house.give(Verifier(CredentialId(1), plainly(PASSWORD)))

        with pytest.raises(WrongPassword):
            step(house.begin("PLAIN"), plain(ALICE, b"wrong"))

        assert house.kept == []

    def test_keys_with_other_rounds_are_made_anew(self) -> None:
        """Setting ``login.scram_iterations`` was raised."""
        house = House()
        old = write_keys(make_keys(PASSWORD, 1))
        house.give(Verifier(CredentialId(1), plainly(PASSWORD), old))

        step(house.begin("PLAIN"), plain(ALICE, PASSWORD))

        [(_, text)] = house.kept
        keys = read_keys(text)
        assert keys is not None
        assert keys.iterations == ROUNDS

    def test_one_credential_is_worked_on_once(self) -> None:
        """A client that comes ten times at once costs the threads nothing more."""
        house = House()
        house.give(Verifier(CredentialId(1), plainly(PASSWORD)))
        house.gate = Deferred()
        for _ in range(10):
            step(house.begin("PLAIN"), plain(ALICE, PASSWORD))
        assert len(house.enrolment.background) == 1

        house.gate.callback(None)

        assert len(house.kept) == 1

    def test_it_waits_for_a_quiet_moment(self) -> None:
        """Logins come first; the next one will do."""
        house = House()
        house.give(Verifier(CredentialId(1), plainly(PASSWORD)))
        house.passwords._waiting = 1  # noqa: SLF001 - as if one were under way
        step(house.begin("PLAIN"), plain(ALICE, PASSWORD))
        assert house.kept == []

        house.passwords._waiting = 0  # noqa: SLF001
        step(house.begin("PLAIN"), plain(ALICE, PASSWORD))

        assert len(house.kept) == 1

    @pytest.mark.parametrize("trouble", [StorageFailed(), TooBusy()])
    def test_a_failure_is_made_good_by_the_next_login(self, trouble: Exception) -> None:
        """The user notices nothing."""
        house = House()
        house.give(Verifier(CredentialId(1), plainly(PASSWORD)))
        house.trouble = trouble
        assert step(house.begin("PLAIN"), plain(ALICE, PASSWORD))

        house.trouble = None
        step(house.begin("PLAIN"), plain(ALICE, PASSWORD))

        assert len(house.kept) == 1
