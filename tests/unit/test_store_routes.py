"""Mail finds every mailbox behind an address, each once, and never runs in a circle."""

from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import update

from mailsvc.errors import AlreadyThere, CommandError, NotFound
from mailsvc.model.account import Role
from mailsvc.model.address import Address, parse_address
from mailsvc.model.alias import AliasKind
from mailsvc.model.quota import Quota, QuotaSource, effective
from mailsvc.model.route import DeadEnd
from mailsvc.store import chains
from mailsvc.store.account_changes import delete_account
from mailsvc.store.accounts import find_account, list_accounts
from mailsvc.store.aliases import (
    add_alias,
    add_members,
    get_alias,
    remove_alias,
    remove_members,
    rename_targets,
    set_forward,
    switch_alias,
)
from mailsvc.store.domain_changes import set_domain, switch_domain
from mailsvc.store.domains import add_domain
from mailsvc.store.engine import Engines, open_engines
from mailsvc.store.routes import find_route
from mailsvc.store.tables import account, alias
from tests.support.database_servers import SERVERS
from tests.support.mail_store import Store, wait_for_a_waiter


@pytest.fixture
def store(engines: Engines) -> Store:
    """Give admin, alice, bob and carol of test.com, and the empty domain other.org."""
    made = Store(engines)
    made.add("admin", Role.ADMIN)
    for name in ("alice", "bob", "carol"):
        made.add(name)
    made.do(add_domain, made.ids, "other.org")
    return made


@pytest.fixture
def other_node(database_url: str) -> Iterator[Store]:
    """Give a second node's way into the same database."""
    opened = open_engines(database_url, 1, 1)
    yield Store(opened, node=1)
    opened.close()


def at(text: str) -> Address:
    """Read an address; of test.com, unless it says otherwise."""
    return parse_address(text if "@" in text else f"{text}@test.com", utf8=True)


def make(store: Store, kind: AliasKind, name: str, *targets: str) -> Any:
    """Make an alias, a group or a forward."""
    found = [at(one) for one in targets]
    if kind is AliasKind.FORWARD:
        return store.do(set_forward, store.ids, at(name), found, "+")
    return store.do(add_alias, store.ids, kind, at(name), found, "+")


def forward(store: Store, name: str, *targets: str) -> None:
    """Send an account's mail on."""
    make(store, AliasKind.FORWARD, name, *targets)


def group(store: Store, name: str, *targets: str) -> None:
    """Make a group."""
    make(store, AliasKind.GROUP, name, *targets)


def reached(store: Store, name: str) -> list[str]:
    """List whose mailboxes are behind an address."""
    route = store.do(find_route, at(name), "+")
    return sorted(one.address.local for one in route.accounts)


def dead_end(store: Store, name: str) -> DeadEnd:
    """Tell why nobody is behind an address."""
    route = store.do(find_route, at(name), "+")
    assert route.accounts == ()
    return route.dead_end


def own(store: Store, name: str) -> str | None:
    """Tell who may send with an address."""
    found = store.do(find_account, at(name), "+")
    return None if found is None else found.address.local


class TestRoutes:
    """From an address to its mailboxes."""

    def test_aliases_groups_and_forwards_are_followed_to_their_ends(self, store: Store) -> None:
        """However they are nested, each mailbox gets one copy."""
        make(store, AliasKind.ALIAS, "info@other.org", "alice")
        group(store, "team", "info@other.org", "bob", "alice", "alice+work")
        group(store, "all", "team", "carol", "bob")
        forward(store, "carol", "admin")

        assert reached(store, "all") == ["admin", "alice", "bob"]
        assert reached(store, "ALL+tag") == ["admin", "alice", "bob"]

    @pytest.mark.parametrize(
        ("targets", "expected"), [(("bob",), ["bob"]), (("alice", "bob"), ["alice", "bob"])]
    )
    def test_a_forward_keeps_a_copy_when_it_names_itself(
        self, store: Store, targets: tuple[str, ...], expected: list[str]
    ) -> None:
        """Otherwise the mailbox stays as it is."""
        forward(store, "alice", *targets)

        assert reached(store, "alice") == reached(store, "alice+tag") == expected

    def test_disabled_ones_are_skipped(self, store: Store) -> None:
        """A member, a nested group, and a forward, whose account keeps its mail then."""
        group(store, "team", "alice", "bob")
        group(store, "all", "team", "carol")
        forward(store, "carol", "bob")
        disable(store, "alice")
        assert reached(store, "all") == ["bob"]

        store.do(switch_alias, AliasKind.GROUP, at("team"), enabled=False)
        store.do(switch_alias, AliasKind.FORWARD, at("carol"), enabled=False)
        assert reached(store, "all") == ["carol"]

    def test_when_all_are_disabled_mail_is_refused_as_for_one(self, store: Store) -> None:
        """And nobody is found out to exist who does not."""
        group(store, "team", "alice")
        group(store, "empty")
        disable(store, "alice")

        assert dead_end(store, "team") is DeadEnd.DISABLED
        assert dead_end(store, "alice") is DeadEnd.DISABLED
        assert dead_end(store, "empty") is DeadEnd.UNKNOWN
        assert dead_end(store, "nobody") is DeadEnd.UNKNOWN

    def test_a_circle_that_is_there_all_the_same_is_cut(self, store: Store) -> None:
        """Whatever an old backup brings: mail ends, and waits where it has no end."""
        forward(store, "alice", "bob")
        group(store, "team", "alice", "carol")
        forward(store, "bob", "carol")
        write_targets(store, "bob", "alice@test.com")

        assert dead_end(store, "alice") is DeadEnd.CIRCLE
        assert reached(store, "team") == ["carol"]

    def test_a_catch_all_gets_what_nobody_else_has(self, store: Store) -> None:
        """Nothing else: neither aliases nor mailboxes that are disabled."""
        make(store, AliasKind.ALIAS, "info", "alice")
        store.do(set_domain, "test.com", {}, at("carol"), "+")
        disable(store, "bob")

        assert reached(store, "whoever") == ["carol"]
        assert reached(store, "info") == ["alice"]
        assert reached(store, "postmaster") == ["admin"]
        assert dead_end(store, "bob") is DeadEnd.DISABLED
        assert dead_end(store, "whoever@other.org") is DeadEnd.UNKNOWN

    def test_a_disabled_domain_disables_all_in_it(self, store: Store) -> None:
        """Its accounts, also behind the groups of others."""
        make(store, AliasKind.ALIAS, "info@other.org", "alice")
        group(store, "team", "info@other.org", "bob")
        store.do(switch_domain, "other.org", enabled=False)

        assert reached(store, "team") == ["bob"]

    def test_the_postmaster_may_be_an_alias(self, store: Store) -> None:
        """Then the administrators are spared."""
        make(store, AliasKind.ALIAS, "postmaster", "alice")

        assert reached(store, "postmaster") == ["alice"]
        assert own(store, "postmaster") == "alice"
        assert reached(store, "postmaster@other.org") == ["admin"]

    def test_a_user_owns_aliases_only(self, store: Store) -> None:
        """Members of a group do not send as the group, nor who gets a forward as its account."""
        make(store, AliasKind.ALIAS, "info", "alice")
        make(store, AliasKind.ALIAS, "sales", "info+sales")
        group(store, "team", "alice")
        forward(store, "alice", "bob")
        store.do(set_domain, "test.com", {}, at("carol"), "+")

        assert [own(store, name) for name in ("info", "sales", "alice")] == ["alice"] * 3
        assert own(store, "team") is None
        assert own(store, "whoever") is None


def disable(store: Store, name: str) -> None:
    """Switch an account off."""
    change = update(account).where(account.c.address_key == at(name).key).values(enabled=False)
    store.do(lambda conn: conn.execute(change))


def write_targets(store: Store, name: str, targets: str) -> None:
    """Write past all checks."""
    change = update(alias).where(alias.c.address_key == at(name).key).values(targets=targets)
    store.do(lambda conn: conn.execute(change))


class TestChanges:
    """What is made is good when it is made."""

    @pytest.mark.parametrize("target", ["alice", "alice+tag", "team", "info"])
    def test_a_circle_is_refused_when_it_would_be_made(self, store: Store, target: str) -> None:
        """Directly, by a group, an alias or a subaddress; nothing is changed."""
        make(store, AliasKind.ALIAS, "info", "alice")
        group(store, "team", "carol", "info")
        forward(store, "alice", "bob")

        with pytest.raises(CommandError, match=r"circle: bob@test.com -> .* -> bob@test.com"):
            forward(store, "bob", target)

        assert reached(store, "bob") == ["bob"]

    def test_a_disabled_link_still_makes_a_circle(self, store: Store) -> None:
        """Or switching it on would."""
        forward(store, "alice", "bob")
        store.do(switch_alias, AliasKind.FORWARD, at("alice"), enabled=False)

        with pytest.raises(CommandError, match="circle"):
            forward(store, "bob", "alice")

    def test_nobody_leads_to_himself(self, store: Store) -> None:
        """An alias of itself, a group in itself, a forward to the own mailbox."""
        with pytest.raises(CommandError, match="circle"):
            make(store, AliasKind.ALIAS, "info", "info")
        group(store, "team", "alice")
        with pytest.raises(CommandError, match="circle"):
            store.do(add_members, at("team"), [at("team")], "+")
        with pytest.raises(CommandError, match="has its mail anyway"):
            forward(store, "alice", "alice")

    def test_a_chain_has_ten_steps_at_most(self, store: Store) -> None:
        """Counted from its far end, too: the last step that was added at the bottom."""
        make(store, AliasKind.ALIAS, "a1", "alice")
        for number in range(2, 10):
            make(store, AliasKind.ALIAS, f"a{number}", f"a{number - 1}")
        forward(store, "alice", "bob")
        assert reached(store, "a9") == ["bob"]
        assert own(store, "a9") == "alice"

        with pytest.raises(CommandError, match="too long"):
            make(store, AliasKind.ALIAS, "a10", "a9")
        with pytest.raises(CommandError, match=r"from a9@test\.com"):
            forward(store, "bob", "carol")

    def test_too_many_mailboxes_are_refused(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also when a group far below grows."""
        monkeypatch.setattr(chains, "MOST_MAILBOXES", 3)
        group(store, "team", "alice", "bob")
        group(store, "all", "team", "carol")

        with pytest.raises(CommandError, match=r"4 mailboxes would be behind all@test\.com"):
            store.do(add_members, at("team"), [at("admin")], "+")

    def test_many_diamonds_are_looked_at_once(self, store: Store) -> None:
        """Groups that share their members ten levels deep take no time."""
        lower = ("alice", "bob")
        for level in range(9):
            names = [f"g{level}{number}" for number in range(4)]
            for name in names:
                group(store, name, *lower)
            lower = tuple(names)  # type: ignore[assignment]  # four now

        assert reached(store, "g80") == ["alice", "bob"]

    @pytest.mark.parametrize("name", ["alice", "info", "team"])
    def test_an_address_is_one_thing(self, store: Store, name: str) -> None:
        """Account, alias or group, whoever comes first; case does not matter."""
        make(store, AliasKind.ALIAS, "info", "alice")
        group(store, "team", "alice")

        with pytest.raises(AlreadyThere, match=f"{name}@test.com exists already"):
            group(store, name)
        with pytest.raises(AlreadyThere):
            store.add(name.upper())

    def test_members_are_on_any_server(self, store: Store) -> None:
        """A forward, too, and a catch-all; each address counts once, in one spelling."""
        group(store, "team", "alice", "X@example.net", "x@example.net")
        forward(store, "bob", "bob@example.net")
        make(store, AliasKind.ALIAS, "away", "team")

        route = store.do(find_route, at("away"), "+")
        assert [one.address.local for one in route.accounts] == ["alice"]
        assert list(map(str, route.remote)) == ["x@example.net"]
        route = store.do(find_route, at("bob"), "+")
        assert (route.accounts, list(map(str, route.remote))) == ((), ["bob@example.net"])

    def test_targets_of_ours_must_exist(self, store: Store) -> None:
        """Mail would come back from them; those of others are theirs to know."""
        with pytest.raises(NotFound, match=r"no account, alias or group dora@test\.com"):
            group(store, "team", "dora")
        with pytest.raises(NotFound, match="not one of ours"):
            group(store, "team@example.net")
        with pytest.raises(NotFound, match=r"no account team@test\.com"):
            forward(store, "team", "alice")
        group(store, "team", "postmaster@other.org", "alice+x")

    def test_members_come_and_go(self, store: Store) -> None:
        """All or none of those that a command names."""
        group(store, "team", "alice")
        store.do(add_members, at("team"), [at("bob"), at("carol")], "+")
        store.do(remove_members, at("team"), [at("ALICE")])
        with pytest.raises(AlreadyThere, match=r"bob@test\.com is a member"):
            store.do(add_members, at("team"), [at("admin"), at("bob")], "+")
        with pytest.raises(NotFound, match="is no member"):
            store.do(remove_members, at("team"), [at("bob"), at("alice")])

        found = store.do(get_alias, AliasKind.GROUP, at("team"))
        assert [one.local for one in found.targets] == ["bob", "carol"]

    def test_what_others_lead_to_stays(self, store: Store) -> None:
        """Mail would vanish silently."""
        make(store, AliasKind.ALIAS, "info", "alice")
        group(store, "team", "info")
        with pytest.raises(CommandError, match=r"the group team@test\.com leads to"):
            store.do(remove_alias, AliasKind.ALIAS, at("info"))
        store.do(set_domain, "other.org", {}, at("team"), "+")
        with pytest.raises(CommandError, match=r"catch-all of other\.org"):
            store.do(remove_alias, AliasKind.GROUP, at("team"))

        store.do(set_domain, "other.org", {"catch_all": None}, None, "+")
        store.do(remove_alias, AliasKind.GROUP, at("team"))
        assert dead_end(store, "team") is DeadEnd.UNKNOWN

    def test_a_forward_goes_with_its_account(self, store: Store) -> None:
        """Whoever gets the address next begins anew; members that are gone are skipped."""
        group(store, "team", "alice", "bob")
        forward(store, "alice", "carol")
        store.do(delete_account, at("alice"))
        assert reached(store, "team") == ["bob"]

        store.add("alice")
        assert reached(store, "alice") == ["alice"]

    def test_links_follow_a_renamed_account(self, store: Store) -> None:
        """Its forward, the groups it is in, and the catch-all."""
        group(store, "team", "alice")
        forward(store, "alice", "alice", "bob")
        store.do(set_domain, "other.org", {}, at("alice"), "+")

        def rename(conn: Any) -> None:
            change = update(account).where(account.c.address_key == at("alice").key)
            conn.execute(change.values(address="ann@test.com", address_key="ann@test.com"))
            rename_targets(conn, at("alice"), at("ann"))

        store.do(rename)

        assert reached(store, "team") == reached(store, "x@other.org") == ["ann", "bob"]

    @pytest.mark.parametrize("kind", SERVERS, indirect=True)
    def test_two_administrators_cannot_build_a_circle_together(
        self, store: Store, other_node: Store
    ) -> None:
        """The second one waits for the first, then hears why not."""
        heard: list[Exception] = []

        def other() -> None:
            try:
                forward(other_node, "bob", "alice")
            except CommandError as error:
                heard.append(error)

        thread = Thread(target=other)
        with store.engines.write.begin() as connection:
            set_forward(connection, store.ids, at("alice"), [at("bob")], "+")
            thread.start()
            wait_for_a_waiter(store.engines.write)
        thread.join()

        assert "circle" in str(heard[0])

    @pytest.mark.parametrize("kind", SERVERS, indirect=True)
    def test_an_address_is_not_taken_twice_at_once(self, store: Store, other_node: Store) -> None:
        """As an account on one node and as an alias on another."""
        heard: list[Exception] = []

        def other() -> None:
            try:
                other_node.add("info")
            except AlreadyThere as error:
                heard.append(error)

        thread = Thread(target=other)
        with store.engines.write.begin() as connection:
            targets = [at("bob")]
            add_alias(connection, store.ids, AliasKind.ALIAS, at("info"), targets, "+")
            thread.start()
            wait_for_a_waiter(store.engines.write)
        thread.join()

        assert str(heard[0]) == "the alias info@test.com exists already"


@pytest.mark.parametrize(
    ("own_quota", "of_domain", "expected"),
    [
        (None, None, Quota(None, QuotaSource.NOBODY)),
        (None, 7, Quota(7, QuotaSource.DOMAIN)),
        (5, 7, Quota(5, QuotaSource.ACCOUNT)),
        (0, 7, Quota(None, QuotaSource.ACCOUNT)),
    ],
)
def test_the_own_quota_goes_before_that_of_the_domain(
    own_quota: int | None, of_domain: int | None, expected: Quota
) -> None:
    """0 of an account means: no limit, whatever the domain says."""
    assert effective(own_quota, of_domain) == expected


def test_accounts_without_a_quota_have_that_of_their_domain(store: Store) -> None:
    """For deliveries and for lists, which tell where it comes from."""
    store.add("dora", quota_octets=5)
    values = {"quota_octets": 700, "quota_messages": 9}
    store.do(set_domain, "test.com", values, None, "+")

    listed = {one.address.local: one for one in store.do(list_accounts, "", 10)}
    alice, dora = listed["alice"], listed["dora"]
    assert (alice.quota_octets, alice.quota_octets_from) == (700, QuotaSource.DOMAIN)
    assert (dora.quota_octets, dora.quota_octets_from) == (5, QuotaSource.ACCOUNT)
    assert (dora.quota_messages, dora.quota_messages_from) == (9, QuotaSource.DOMAIN)
    [routed] = store.do(find_route, at("alice")).accounts
    assert (routed.quota_octets, routed.quota_messages) == (700, 9)
