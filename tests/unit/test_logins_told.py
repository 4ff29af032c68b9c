"""What is taken down of a login: whose it is, however the name was written."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from twisted.mail.pop3 import IMailbox

from mailsvc.auth.checkers import WrongPassword
from mailsvc.errors import BadResponse, MailError, StorageFailed
from mailsvc.model.account import Account
from mailsvc.model.address import Address
from mailsvc.model.channel import PLAIN_TEXT
from tests.support.pop3_talk import faults, logs
from tests.support.scram_client import ScramClient
from tests.support.smtp_talk import PASSWORD, MemoryDirectory
from tests.unit.test_sasl import ALICE, CLIENT, SCRAM, House, plain, step

ANY_SPELLING = pytest.mark.parametrize("name", ["alice@test.com", "ALICE@Test.com", "alice"])


class _Place(NamedTuple):
    """Where a user gets to, as the avatars of the front ends are."""

    account: Account


class Proper(House):
    """One whose avatars tell whose they are."""

    async def _receive(self, account: Account) -> tuple[Any, Callable[[], None]]:
        return _Place(account), lambda: None


class Broken(MemoryDirectory):
    """
    Accounts whose database goes.

    Args:
        answers: How often it answers before.
        fault: What comes then.
    """

    def __init__(self, answers: int, fault: type[Exception] = StorageFailed) -> None:
        super().__init__()
        self.looked_up = 0
        self._answers, self._fault = answers, fault

    async def find(self, address: Address, *, fresh: bool = False) -> Account | None:
        """Answer, as long as it does."""
        self.looked_up += 1
        if self.looked_up > self._answers:
            raise self._fault
        return await super().find(address, fresh=fresh)


@ANY_SPELLING
def test_a_login_is_told_with_the_address(name: str) -> None:
    """And the account."""
    house = Proper()
    exchange = house.begin("PLAIN", interface=IMailbox)

    step(exchange, plain(name, PASSWORD))

    assert exchange.who == ALICE
    [told] = house.told
    assert told.account == house.directory.accounts[ALICE].id
    assert (told.event, told.sender, told.detail) == ("login", ALICE, "pop3 PLAIN")


def test_a_command_that_is_no_mechanism_is_told_by_its_own_name() -> None:
    """USER and PASS of POP3 are not AUTH LOGIN."""
    house = Proper()
    exchange = house.authenticator.begin("LOGIN", CLIENT, PLAIN_TEXT, IMailbox, "USER")
    assert exchange is not None

    step(exchange, ALICE.encode())
    step(exchange, PASSWORD)

    assert [told.detail for told in house.told] == ["pop3 USER"]


@ANY_SPELLING
def test_a_failed_login_is_told_in_the_same_way(name: str) -> None:
    """Whoever looks for what failed for Alice finds it."""
    house = House()
    exchange = house.begin("PLAIN")

    with pytest.raises(MailError):
        step(exchange, plain(name, b"wrong"))

    assert exchange.who == ALICE
    [told] = house.told
    assert told.account == house.directory.accounts[ALICE].id
    assert (told.event, told.sender, told.status) == ("login failed", ALICE, "5.7.8")
    assert "wrong" not in str(told._replace(detail=""))


@pytest.mark.parametrize("name", ["alice", "alic\u00ade", "\uff41lice@test.com"])
def test_a_failed_proof_is_told_in_the_same_way(name: str) -> None:
    """
    SCRAM never says the password, and whose it was is known all the same.

    A soft hyphen and letters of full width are other spellings of hers; RFC 4013.
    """
    house = House()
    client = ScramClient(name, b"wrong")
    exchange = house.begin(SCRAM)

    with pytest.raises(MailError):
        step(exchange, client.final(step(exchange, client.first)))

    [told] = house.told
    assert (told.event, told.sender) == ("login failed", ALICE)
    assert told.account == house.directory.accounts[ALICE].id


def test_a_user_who_may_not_come_in_is_told() -> None:
    """Carol is disabled; the password is right."""
    house = House()

    with pytest.raises(MailError):
        step(house.begin("PLAIN"), plain("carol", PASSWORD))

    [told] = house.told
    assert told.account == house.directory.accounts["carol@test.com"].id
    assert (told.event, told.sender) == ("login failed", "carol@test.com")


@pytest.mark.parametrize(
    ("name", "who"),
    [
        (b"nobody", "nobody@test.com"),
        (b"postmaster", "postmaster@test.com"),
        (b"not an address", "not an address"),
        (b"\xff@test.com", r"\xff@test.com"),
        (b"a\0b", r"a\x00b"),
        (b"a\r\nb\x1b[2J", r"a\r\nb\x1b[2J"),
        ("a\u202eb@test.com".encode(), r"a\u202eb@test.com"),
    ],
)
def test_a_name_that_nobody_has_is_told_without_an_account(name: bytes, who: str) -> None:
    """Also one that finds a mailbox and is nobody's to log in with."""
    house = House()
    exchange = house.begin("LOGIN")
    step(exchange, name)

    with pytest.raises(MailError):
        step(exchange, PASSWORD)

    assert exchange.who == who
    [told] = house.told
    assert (told.account, told.sender) == (None, who)


def test_a_long_name_is_cut() -> None:
    """A table has its limits."""
    house = House()

    with pytest.raises(MailError):
        step(house.begin("PLAIN"), plain("x" * 5000, b"wrong"))

    assert house.told[0].sender == "x" * 320


def test_nothing_is_told_of_what_was_no_login() -> None:
    """The client broke the grammar."""
    house = House()

    with pytest.raises(BadResponse):
        step(house.begin("PLAIN"), b"no NUL")

    assert house.told == []


def test_a_database_that_is_gone_is_not_asked_again() -> None:
    """The client has waited for it once."""
    directory = Broken(0)
    house = House(directory=directory)
    exchange = house.begin("PLAIN")

    with pytest.raises(StorageFailed):
        step(exchange, plain("alice@test.com", PASSWORD))

    assert (directory.looked_up, exchange.who) == (1, ALICE)
    assert house.told[0].account is None


@pytest.mark.parametrize("fault", [StorageFailed, RuntimeError])
def test_what_goes_wrong_meanwhile_changes_no_answer(fault: type[Exception]) -> None:
    """What the client hears is what it would have heard."""
    house = House(directory=Broken(1, fault))
    exchange = house.begin("PLAIN")

    with logs() as heard, pytest.raises(WrongPassword):
        step(exchange, plain("alice@test.com", b"wrong"))

    assert (house.told[0].account, exchange.who) == (None, ALICE)
    assert len(faults(heard)) == (fault is RuntimeError)
