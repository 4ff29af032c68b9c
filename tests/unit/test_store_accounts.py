"""Accounts and domains: what an administrator does to them, on every engine."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select, update

from mailsvc.errors import AlreadyThere, CommandError, NotFound
from mailsvc.model.account import Account, Role, Scope, StoredPassword
from mailsvc.model.address import Address, parse_address
from mailsvc.store.account_changes import delete_account
from mailsvc.store.accounts import (
    NewAccount,
    account_by_id,
    add_account,
    count_accounts,
    find_account,
    list_accounts,
    note_logins,
    populate,
    set_password,
    set_scram_keys,
)
from mailsvc.store.domains import add_domain, any_domain, domain_exists, first_domain
from mailsvc.store.engine import Engines, open_engines
from mailsvc.store.settings import shared_secret
from mailsvc.store.tables import account, credential, domain, entry, folder, trail
from mailsvc.store.trail import Record, recorded_about
from tests.support.database_servers import SERVERS
from tests.support.mail_store import NOON, Store, running, wait_for_a_waiter
from tests.support.pump import Pump


@pytest.fixture
def store(engines: Engines) -> Store:
    """Give a store whose only account is the administrator admin@test.com."""
    made = Store(engines)
    made.add("admin", Role.ADMIN)
    return made


@pytest.fixture
def other_node(database_url: str) -> Iterator[Store]:
    """Give a second node's way into the same database."""
    opened = open_engines(database_url, 1, 1)
    yield Store(opened, node=1)
    opened.close()


def named(name: str) -> Address:
    """Make an address of test.com."""
    return parse_address(f"{name}@test.com", utf8=True)


def found(store: Store, name: str) -> Account | None:
    """Look an account up by its local part."""
    return store.do(find_account, named(name))


def passwords(conn: Connection) -> list[str]:
    """List the verifiers of all users."""
    wanted = select(credential.c.verifier).join(account).where(account.c.role == "user")
    return list(conn.scalars(wanted))


def switch_off(conn: Connection, name: str) -> None:
    """Disable an account."""
    conn.execute(update(account).where(account.c.address_key == name).values(enabled=False))


class TestFinding:
    """An account is found by its address, as people write it."""

    def test_a_new_account_has_everything_it_needs(self, store: Store) -> None:
        """Password, folders and switches are there at once; no limit unless asked for."""
        alice = store.add("alice")

        assert [one.hashed for one in alice.verifiers] == ["plain:secret"]
        assert (alice.role, alice.enabled, alice.scopes) == (Role.USER, True, frozenset(Scope))
        assert (alice.quota_octets, alice.quota_messages) == (None, None)
        roles = store.do(
            lambda conn: conn.scalars(
                select(folder.c.role).where(folder.c.account_id == alice.id)
            ).all()
        )
        assert sorted(roles) == ["archive", "drafts", "inbox", "junk", "sent", "trash"]
        assert store.do(account_by_id, alice.id) == alice

    def test_limits_are_kept_to_the_octet(self, store: Store) -> None:
        """A limit beyond 32 bits is a limit too."""
        alice = store.add("alice", quota_octets=5_000_000_000, quota_messages=3)

        assert (alice.quota_octets, alice.quota_messages) == (5_000_000_000, 3)

    @pytest.mark.parametrize("written", ["alice", "ALICE", "Alice"])
    def test_case_does_not_matter(self, store: Store, written: str) -> None:
        """Nobody loses mail because a sender has shift pressed; the user's spelling is shown."""
        store.add("Alice")

        account = found(store, written)

        assert account is not None
        assert str(account.address) == "Alice@test.com"

    @pytest.mark.parametrize(
        ("made", "written"),
        [
            ("grüße", "GRÜSSE"),
            ("zoe\u0308", "ZO\u00cb"),  # decomposed and composed
            ("\U0001f4ee", "\U0001f4ee"),  # beyond the basic plane
            ("\u5f35\u4e09", "\u5f35\u4e09"),
        ],
    )
    def test_any_script_will_do(self, store: Store, made: str, written: str) -> None:
        """RFC 6531 addresses come back as they were written, however they are looked up."""
        store.add(made)

        account = found(store, written)

        assert account is not None
        assert account.address.local == made

    @pytest.mark.parametrize("written", ["alic\u00e9", "alice\u0301", "al_ce", "alic%", "alice-"])
    def test_an_accent_is_another_name(self, store: Store, written: str) -> None:
        """No engine's idea of similar letters sends mail to somebody else."""
        store.add("alice")

        assert found(store, written) is None

    def test_the_longest_address_fits(self, store: Store) -> None:
        """Whatever the grammar of RFC 5321 allows, the tables hold."""
        longest = Address('"' * 64, ".".join(["d" * 63] * 3 + ["d" * 61]))
        folding = Address("\u0390" * 32, longest.domain)
        store.do(add_domain, store.ids, longest.domain)

        for address in (longest, folding):
            store.do(add_account, store.ids, NewAccount(address=address, hashed="x"))
            assert getattr(store.do(find_account, address), "address", None) == address

    def test_an_expired_password_is_none(self, store: Store) -> None:
        """A credential with an end is worth nothing after it."""
        store.add("alice")
        store.do(
            lambda conn: conn.execute(update(credential).values(expires=NOON.replace(year=2020)))
        )

        alice = found(store, "alice")

        assert alice is not None
        assert alice.verifiers == ()

    @pytest.mark.parametrize(
        ("scope", "scopes"),
        [
            ("", frozenset(Scope)),
            ("pop3", {Scope.POP3}),
            ("smtp pop3", {Scope.SMTP, Scope.POP3}),
            ("imap", frozenset()),
        ],
    )
    def test_a_credential_knows_what_it_is_good_for(
        self, store: Store, scope: str, scopes: frozenset[Scope]
    ) -> None:
        """Everything, or what it was made for."""
        store.add("alice")
        store.do(lambda conn: conn.execute(update(credential).values(scope=scope)))

        alice = found(store, "alice")

        assert alice is not None
        assert [one.scopes for one in alice.verifiers] == [scopes]
        assert len(alice.verifiers_for(Scope.POP3)) == (Scope.POP3 in scopes)

    def test_the_password_comes_before_other_credentials(self, store: Store) -> None:
        """SCRAM tells the salt of the first one."""
        alice = store.add("alice")
        app = {"account_id": alice.id, "kind": "app", "verifier": "app", "created": NOON}
        store.do(lambda conn: conn.execute(insert(credential).values(id=1, **app)))

        known = found(store, "alice")

        assert known is not None
        assert [one.hashed for one in known.verifiers] == ["plain:secret", "app"]


class TestScramKeys:
    """What a login without the password on the wire needs."""

    def test_they_come_and_go_with_the_password(self, store: Store) -> None:
        """A new password makes old keys worthless."""
        store.add("alice")
        stored = StoredPassword("plain:new", "keys of it")
        store.do(set_password, store.ids, named("alice"), stored)
        assert self._keys(store) == ["keys of it"]

        store.do(set_password, store.ids, named("alice"), StoredPassword("plain:newer"))

        assert self._keys(store) == [None]

    def test_they_are_added_to_the_password_they_belong_to(self, store: Store) -> None:
        """Not to one that was set meanwhile."""
        before = store.add("alice").verifiers[0]
        store.do(set_scram_keys, before, "its keys")
        assert self._keys(store) == ["its keys"]

        store.do(lambda conn: conn.execute(update(credential).values(verifier="x", scram=None)))
        store.do(set_scram_keys, before, "old keys")

        assert self._keys(store) == [None]

    @staticmethod
    def _keys(store: Store) -> list[str | None]:
        alice = found(store, "alice")
        assert alice is not None
        return [one.scram for one in alice.verifiers]


class TestSharedSecret:
    """What all nodes of one database know, and nobody else."""

    def test_it_is_made_once(self, store: Store) -> None:
        """The salts of those who do not exist stay the same over a restart."""
        secret = store.do(shared_secret)

        assert len(secret) == 32
        assert store.do(shared_secret) == secret


class TestPostmaster:
    """Each domain has a postmaster; RFC 5321 section 4.5.1."""

    @pytest.mark.parametrize("written", ["postmaster", "POSTMASTER", "Postmaster"])
    def test_an_administrator_gets_its_mail(self, store: Store, written: str) -> None:
        """Complaints reach a person."""
        account = found(store, written)

        assert account is not None
        assert str(account.address) == "admin@test.com"

    def test_an_account_of_that_name_comes_first(self, store: Store) -> None:
        """Who makes the account gets its mail."""
        made = store.add("postmaster")

        assert found(store, "postmaster") == made

    def test_an_administrator_who_is_switched_off_is_passed_over(self, store: Store) -> None:
        """The mail goes to one who can read it."""
        second = store.add("second", Role.ADMIN)
        store.do(switch_off, "admin@test.com")

        assert found(store, "postmaster") == second


class TestListing:
    """The list of accounts, a page at a time."""

    def test_pages_join_without_gap_or_repetition(self, store: Store) -> None:
        """Whatever the size of a page, each account is on one page once."""
        for name in ("bob", "Carol", "alice", "zoe\u0308", "dave"):
            store.add(name)
        for size in (1, 2, 4, 100):
            listed: list[str] = []
            while page := store.do(list_accounts, listed[-1] if listed else "", size):
                assert len(page) <= size
                listed.extend(one.address.key for one in page)
            assert len(listed) == len(set(listed)) == store.do(count_accounts) == 6

    def test_a_line_tells_usage_and_last_login(self, store: Store) -> None:
        """An administrator sees who is near his limit and who has left."""
        alice = store.add("alice", quota_octets=1000)
        store.deliver(store.delivery(b"hello\r\n", alice))
        store.do(note_logins, [(alice.id, NOON)])

        line = store.do(list_accounts, "admin@test.com", 1)[0]

        octets = store.usage(alice)[2]
        assert (line.address, line.messages, line.octets) == (alice.address, 1, octets)
        assert (line.quota_octets, line.last_login) == (1000, NOON)


class TestChanges:
    """What an administrator does."""

    def test_a_taken_address_is_refused_in_any_spelling(self, store: Store) -> None:
        """Two users never share a name, and the first one's password stays."""
        store.add("alice")

        with pytest.raises(AlreadyThere, match=r"ALICE@test\.com exists already"):
            store.add("ALICE")

        assert store.do(passwords) == ["plain:secret"]

    def test_an_account_needs_a_domain_of_ours(self, store: Store) -> None:
        """A typing error in the domain makes no dead account."""
        new = NewAccount(address=parse_address("alice@elsewhere.org"), hashed="x")

        with pytest.raises(NotFound, match=r"elsewhere\.org is not one of ours"):
            store.do(add_account, store.ids, new)

    def test_a_first_run_makes_all_or_nothing(self, store: Store) -> None:
        """A mistake in the last user leaves no half-made domain."""
        users = [
            NewAccount(address=parse_address(f"{name}@new.org"), hashed="x") for name in ("a", "A")
        ]

        with pytest.raises(AlreadyThere):
            store.do(populate, store.ids, "new.org", users)

        assert not store.do(domain_exists, "new.org")
        assert store.do(count_accounts) == 1

    def test_a_new_password_replaces_the_old_one(self, store: Store) -> None:
        """An account has one password."""
        alice = store.add("alice")

        assert (
            store.do(set_password, store.ids, named("ALICE"), StoredPassword("plain:new"))
            == alice.id
        )

        assert store.do(passwords) == ["plain:new"]

    def test_a_deleted_account_leaves_nothing_behind(self, store: Store) -> None:
        """Folders, mail and password go with it; others keep theirs."""
        alice, bob = store.add("alice"), store.add("bob")
        store.deliver(store.delivery(b"to both\r\n", alice, bob))

        store.do(delete_account, alice.address)

        assert found(store, "alice") is None
        owners = store.do(lambda conn: set(conn.scalars(select(folder.c.account_id))))
        assert alice.id not in owners
        assert store.do(lambda conn: conn.scalar(select(func.count()).select_from(entry))) == 1
        assert store.do(passwords) == ["plain:secret"]

    def test_the_last_administrator_stays(self, store: Store) -> None:
        """Nobody locks himself out; with a second one the first may go."""
        with pytest.raises(CommandError, match="last administrator"):
            store.do(delete_account, named("admin"))
        assert found(store, "admin") is not None

        store.add("second", Role.ADMIN)
        store.do(delete_account, named("admin"))
        assert found(store, "admin") is None

    @pytest.mark.parametrize("name", ["nobody", "postmaster"])
    def test_what_is_not_there_cannot_be_changed(self, store: Store, name: str) -> None:
        """A name that only receives mail is no account: its administrator keeps his own."""
        with pytest.raises(NotFound):
            store.do(set_password, store.ids, named(name), StoredPassword("x"))
        with pytest.raises(NotFound):
            store.do(delete_account, named(name))

    def test_each_change_has_its_row_in_the_trail(self, store: Store) -> None:
        """The story is written in the transaction of the deed."""
        new = NewAccount(address=named("alice"), hashed="plain:secret")

        def do(did: str, query: Any, *arguments: Any) -> None:
            record = Record("uid 7", did, {"address": "alice@test.com"})
            store.do(recorded_about, store.ids, record, query, *arguments)

        do("user add", add_account, store.ids, new)
        do("user passwd", set_password, store.ids, named("alice"), StoredPassword("plain:new"))
        do("user delete", delete_account, named("alice"))

        told = store.do(
            lambda conn: list(conn.scalars(select(trail.c.detail).order_by(trail.c.id)))
        )

        assert ['"did": "user add"' in told[0], '"did": "user passwd"' in told[1]] == [True, True]
        assert "secret" not in "".join(told)


class TestDomains:
    """Which domains are ours."""

    def test_a_domain_is_made_once(self, store: Store) -> None:
        """The second time is told, not ignored."""
        with pytest.raises(AlreadyThere):
            store.do(add_domain, store.ids, "test.com")

    def test_the_oldest_enabled_domain_is_home(self, store: Store) -> None:
        """A login without a domain belongs to it."""
        store.do(add_domain, store.ids, "another.org")
        assert store.do(first_domain) == "test.com"

        store.do(
            lambda conn: conn.execute(
                update(domain).where(domain.c.name == "test.com").values(enabled=False)
            )
        )

        assert store.do(first_domain) == "another.org"
        assert not store.do(domain_exists, "test.com")

    def test_an_empty_database_is_told_from_one_that_is_set_up(self, engines: Engines) -> None:
        """The first run happens once."""
        store = Store(engines)
        assert not store.do(any_domain)
        assert store.do(first_domain) is None

        store.do(add_domain, store.ids, "test.com")

        assert store.do(any_domain)


@pytest.mark.parametrize("kind", SERVERS)
class TestTwoAdministrators:
    """Two nodes change the same thing at the same moment."""

    def test_one_of_two_equal_accounts_is_made(
        self, store: Store, other_node: Store, database_url: str
    ) -> None:
        """The other administrator reads that the address is taken."""
        new = NewAccount(address=named("alice"), hashed="plain:theirs")
        pump = Pump()
        with running(database_url, pump, node=2) as database:
            with other_node.engines.write.begin() as theirs:
                add_account(theirs, other_node.ids, new)
                late = pump.start(database.write(add_account, database.ids, new))
                wait_for_a_waiter(store.engines.write)

            with pytest.raises(AlreadyThere):
                late.result()

        assert store.do(passwords) == ["plain:theirs"]

    def test_one_of_two_equal_domains_is_made(
        self, store: Store, other_node: Store, database_url: str
    ) -> None:
        """The other administrator reads that it exists."""
        pump = Pump()
        with running(database_url, pump, node=2) as database:
            with other_node.engines.write.begin() as theirs:
                add_domain(theirs, other_node.ids, "new.org")
                late = pump.start(database.write(add_domain, database.ids, "new.org"))
                wait_for_a_waiter(store.engines.write)

            with pytest.raises(AlreadyThere):
                late.result()

    def test_the_later_of_two_passwords_counts_alone(
        self, store: Store, other_node: Store, database_url: str
    ) -> None:
        """No second password stays valid unnoticed."""
        store.add("alice")
        pump = Pump()
        with running(database_url, pump, node=2) as database:
            with other_node.engines.write.begin() as theirs:
                set_password(
                    theirs, other_node.ids, named("alice"), StoredPassword("plain:earlier")
                )
                late = pump.start(
                    database.write(
                        set_password, database.ids, named("alice"), StoredPassword("plain:later")
                    )
                )
                wait_for_a_waiter(store.engines.write)
            late.result()

        assert store.do(passwords) == ["plain:later"]

    def test_two_administrators_cannot_delete_each_other(
        self, store: Store, other_node: Store, database_url: str
    ) -> None:
        """One of them stays, also when both type at once."""
        store.add("second", Role.ADMIN)
        pump = Pump()
        with running(database_url, pump, node=2) as database:
            with other_node.engines.write.begin() as theirs:
                delete_account(theirs, named("second"))
                late = pump.start(database.write(delete_account, named("admin")))
                wait_for_a_waiter(store.engines.write)

            with pytest.raises(CommandError, match="last administrator"):
                late.result()
