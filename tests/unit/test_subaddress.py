"""Mail for alice+anything is mail for alice; RFC 5233."""

import pytest
from twisted.internet.defer import Deferred

from mailsvc.auth.names import find_user, read_name
from mailsvc.model.account import Account, Role
from mailsvc.model.address import Address, parse_address
from mailsvc.store.accounts import find_account
from mailsvc.store.domains import add_domain
from mailsvc.store.engine import Engines
from tests.support.mail_store import Store
from tests.support.smtp_talk import MemoryDirectory


@pytest.fixture
def store(engines: Engines) -> Store:
    """Give a store with some accounts; one has a plus in its name."""
    store = Store(engines)
    store.add("admin", Role.ADMIN)
    for name in ("alice", "bob+work", "grüße"):
        store.add(name)
    return store


def owner(store: Store, text: str, subaddress: str = "+") -> str | None:
    """Tell whose an address is."""
    found = store.do(find_account, parse_address(text, utf8=True), subaddress)
    return None if found is None else found.address.local


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alice+tag@test.com", "alice"),
        ("ALICE+@test.com", "alice"),
        ("alice+a+b@test.com", "alice"),
        ('"alice+a b"@test.com', "alice"),
        ("grüße+用户@test.com", "grüße"),
        ("bob+work@test.com", "bob+work"),
        ("postmaster+tag@test.com", "admin"),
        ("bob+work+tag@test.com", None),
        ("bob@test.com", None),
        ("+tag@test.com", None),
        ("alice-tag@test.com", None),
        ("alice+tag@example.org", None),
        ("postmaster@example.org", None),
        ("postmaster+tag@example.org", None),
    ],
)
def test_the_whole_name_goes_first(store: Store, text: str, expected: str | None) -> None:
    """Then what stands before the first separator; postmasters of others are nobody here."""
    assert owner(store, text) == expected


@pytest.mark.parametrize(
    ("text", "separator", "expected"),
    [
        ("alice+tag@test.com", "", None),
        ("alice+tag@test.com", "-", None),
        ("alice-tag@test.com", "-", "alice"),
        ("postmaster@test.com", "", "admin"),
    ],
)
def test_the_separator_is_a_setting(
    store: Store, text: str, separator: str, expected: str | None
) -> None:
    """``smtp.subaddress``; an empty one switches it off."""
    assert owner(store, text, separator) == expected


def test_postmaster_of_a_new_domain(store: Store) -> None:
    """Every domain of ours has one; RFC 5321 section 4.5.1."""
    store.do(add_domain, store.ids, "example.org")
    assert owner(store, "postmaster@example.org") == "admin"


class TaggedDirectory(MemoryDirectory):
    """Finds alice under every address, as if it were a subaddress of hers."""

    async def find(self, address: Address, *, fresh: bool = False) -> Account | None:
        del address, fresh
        return self.accounts["alice@test.com"]


@pytest.mark.parametrize(
    ("name", "known"), [(b"alice@test.com", True), (b"ALICE", True), (b"alice+tag@test.com", False)]
)
def test_a_subaddress_is_no_name_to_log_in_with(name: bytes, *, known: bool) -> None:
    """Each account has one name, and one count of wrong passwords."""
    directory = TaggedDirectory()

    async def find() -> Account | None:
        return await find_user(directory, await read_name(directory, name))

    found: list[Account | None] = []
    _ = Deferred.fromCoroutine(find()).addCallback(found.append)
    assert [one is not None for one in found] == [known]
