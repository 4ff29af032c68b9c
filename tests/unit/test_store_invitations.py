"""Invitations, registrations and changed settings in each database."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from mailsvc.errors import AlreadyThere, CommandError, NotFound
from mailsvc.model.account import EVERYBODY, AccountFilter
from mailsvc.model.address import parse_address
from mailsvc.model.registration import NewInvitation
from mailsvc.store.accounts import NewAccount, get_summary, list_accounts
from mailsvc.store.domains import add_domain
from mailsvc.store.engine import Engines
from mailsvc.store.invitations import (
    add_invitation,
    approve,
    count_pending,
    invited_to,
    list_invitations,
    register,
    reject,
    remove_invitation,
)
from mailsvc.store.settings import (
    forget_setting,
    read_settings,
    replace_setting,
    who_changed,
    write_setting,
)
from tests.support.mail_store import Store, running
from tests.support.pump import Pump


@pytest.fixture
def store(engines: Engines) -> Store:
    """Give a way into the database, which has test.com."""
    opened = Store(engines)
    opened.do(add_domain, opened.ids, "test.com")
    return opened


def _new(name: str, *, enabled: bool = True) -> NewAccount:
    return NewAccount(address=parse_address(f"{name}@test.com"), hashed="x", enabled=enabled)


def _invite(store: Store, code: str, **more: object) -> int:
    new = NewInvitation(**more)  # type: ignore[arg-type]
    return store.do(add_invitation, store.ids, new, code, "hint")


class TestInvitations:
    """Codes are good so often and so long."""

    def test_an_invitation_is_used_up(self, store: Store) -> None:
        """Then it is gone."""
        _invite(store, "code", uses=2, note="why")
        assert store.do(invited_to, "code") == ""
        assert store.do(invited_to, "other") is None
        store.do(register, store.ids, _new("a1"), "code", 9)
        [left] = store.do(list_invitations, 0, 9)
        assert (left.uses_left, left.note, left.hint, left.expires) == (1, "why", "hint", None)
        store.do(register, store.ids, _new("a2"), "code", 9)

        assert store.do(list_invitations, 0, 9) == []
        with pytest.raises(CommandError, match="not good any more"):
            store.do(register, store.ids, _new("a3"), "code", 9)
        assert store.do(list_accounts, "", 9, AccountFilter(text="a3")) == []

    def test_a_failed_registration_uses_nothing_up(self, store: Store) -> None:
        """It is one transaction."""
        _invite(store, "code")
        store.do(register, store.ids, _new("taken"), "", 9)
        with pytest.raises(AlreadyThere):
            store.do(register, store.ids, _new("taken"), "code", 9)
        assert store.do(invited_to, "code") == ""

    def test_an_invitation_ends_and_is_removed(self, store: Store) -> None:
        """Each in its own way."""
        _invite(store, "old", span=timedelta(seconds=-1))
        number = _invite(store, "new", domain="test.com", span=timedelta(hours=1))
        assert store.do(invited_to, "old") is None
        assert store.do(invited_to, "new") == "test.com"
        assert [one.number for one in store.do(list_invitations, 0, 9)] == [number]
        assert store.do(list_invitations, number, 9) == []
        store.do(remove_invitation, number)
        with pytest.raises(NotFound):
            store.do(remove_invitation, number)
        with pytest.raises(NotFound):
            _invite(store, "nowhere", domain="nowhere.example")

    def test_the_last_use_has_one_winner(self, store: Store, database_url: str) -> None:
        """However many ask at once."""
        _invite(store, "code")
        pump = Pump()
        with running(database_url, pump, node=1) as database:
            asked = [
                pump.start(database.write(register, database.ids, _new(f"r{number}"), "code", 9))
                for number in range(5)
            ]
            outcomes = [_outcome(one.result) for one in asked]

        assert sorted(outcomes) == ["made", "refused", "refused", "refused", "refused"]
        assert len(store.do(list_accounts, "", 9, EVERYBODY)) == 1


def _outcome(result: Callable[[], object]) -> str:
    try:
        result()
    except CommandError:
        return "refused"
    return "made"


class TestWaiting:
    """Accounts wait for an administrator."""

    def test_who_waits_is_approved_or_rejected(self, store: Store) -> None:
        """And nobody else."""
        for name in ("w1", "w2"):
            store.do(register, store.ids, _new(name, enabled=False), "", 2)
        with pytest.raises(CommandError, match="too many wait"):
            store.do(register, store.ids, _new("w3", enabled=False), "", 2)
        assert store.do(count_pending) == 2
        waiting = store.do(list_accounts, "", 9, AccountFilter(pending=True))
        assert [str(one.address) for one in waiting] == ["w1@test.com", "w2@test.com"]

        store.do(approve, parse_address("w1@test.com"))
        store.do(reject, parse_address("w2@test.com"))

        assert store.do(count_pending) == 0
        assert store.do(get_summary, parse_address("w1@test.com")).enabled
        with pytest.raises(NotFound):
            store.do(get_summary, parse_address("w2@test.com"))
        for query in (approve, reject):
            with pytest.raises(CommandError, match="does not wait"):
                store.do(query, parse_address("w1@test.com"))


class TestChangedSettings:
    """Settings are changed as one, or with all that stands below."""

    def test_a_section_goes_with_its_settings(self, store: Store) -> None:
        """And nothing that is only called like it: a dot parts names, % and _ are letters."""
        names = ("config.a", "config.a.b", "config.a.b.c", "config.ab", "config.a_b", "other.a")
        for name in names:
            store.do(write_setting, name, 1, "them")

        assert store.do(forget_setting, "config.a") == 3
        assert set(store.do(read_settings)) == {"config.ab", "config.a_b", "other.a"}
        assert store.do(forget_setting, "config.a%") == 0
        changed = store.do(who_changed, "config.")
        assert set(changed) == {"config.ab", "config.a_b"}
        assert changed["config.ab"].by == "them"

    def test_a_whole_value_replaces_its_parts(self, store: Store) -> None:
        """And whatever else is named."""
        for name in ("config.a", "config.a.b", "service.x"):
            store.do(write_setting, name, 1, "them")
        store.do(replace_setting, "config.a", {"b": 2}, "us", ["service.x"])

        assert store.do(read_settings) == {"config.a": {"b": 2}}
