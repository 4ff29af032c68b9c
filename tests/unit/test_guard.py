"""Who is held up after failed logins, and who never is."""

from contextlib import ExitStack

import pytest

from mailsvc.auth.guard import KNOWN_FOR, HeldUp, LoginGuard
from mailsvc.config.settings import LimitSettings, LoginSettings
from mailsvc.config.units import Rate
from mailsvc.errors import TooBusy
from mailsvc.model.envelope import Client

HERE = LimitSettings().exempt
THREE, FIVE = Rate(3, 3600.0), Rate(5, 3600.0)


class Watch:
    """A guard and its clock."""

    def __init__(
        self, by_client: Rate | None = THREE, by_account: Rate | None = FIVE, hashers: int = 2
    ) -> None:
        self.now = 1000.0
        settings = LoginSettings(
            failures_per_client=by_client, failures_per_account=by_account, hashers=hashers
        )
        self.guard = LoginGuard(lambda: self.now, settings, HERE)

    def fails(self, ip: str, account: str = "alice@test.com", times: int = 1) -> None:
        """Let logins fail."""
        for _ in range(times):
            self.guard.failed(Client(ip, 1), account)

    def passes(self, ip: str, account: str = "alice@test.com") -> None:
        """Let a login pass."""
        self.guard.passed(Client(ip, 1), account)

    def admits(self, ip: str, account: str = "alice@test.com") -> bool:
        """Tell whether a password would be looked at."""
        try:
            self.guard.admit(Client(ip, 1), account)
        except HeldUp:
            return False
        return True


def test_a_client_must_wait_after_too_many_failures() -> None:
    """Whatever names it tries; others go on, and an hour later it may try again."""
    watch = Watch()
    for name in ("a", "b", "c"):
        assert watch.admits("192.0.2.1", name)
        watch.fails("192.0.2.1", name)

    assert not watch.admits("192.0.2.1", "d")
    assert watch.admits("192.0.2.2", "d")
    watch.now += 3600
    assert watch.admits("192.0.2.1", "d")


def test_an_ipv6_client_is_its_network() -> None:
    """Its owner has 2^64 addresses to try from."""
    watch = Watch()
    for host in (1, 2, 3):
        watch.fails(f"2001:db8:0:1::{host}")

    assert not watch.admits("2001:db8:0:1::4")
    assert watch.admits("2001:db8:0:2::4")


def test_an_exempt_client_never_waits() -> None:
    """The machine itself, for a webmail server is many users; the account's limit stays."""
    watch = Watch()
    for number in range(50):
        watch.fails("127.0.0.1", f"user{number}")
    assert watch.admits("127.0.0.1")

    watch.fails("127.0.0.1", times=5)
    assert not watch.admits("127.0.0.1")


def test_a_known_network_has_the_limit_of_the_account_for_itself() -> None:
    """Or who guesses through an exempt webmail server would have no limit at all."""
    watch = Watch()
    watch.passes("127.0.0.1")
    watch.fails("127.0.0.1", times=5)

    assert not watch.admits("127.0.0.1")
    assert watch.admits("127.0.0.1", "bob@test.com")
    assert watch.admits("192.0.2.1")
    watch.now += 3600
    assert watch.admits("127.0.0.1")


def test_an_account_is_closed_to_a_crowd() -> None:
    """A few tries from each of many networks are many tries."""
    watch = Watch()
    for host in range(5):
        watch.fails(f"192.0.2.{host}")

    assert not watch.admits("198.51.100.1")
    assert watch.admits("198.51.100.1", "bob@test.com")


def test_nobody_can_lock_a_user_out() -> None:
    """Networks from which the user came lately are not held up by others."""
    watch = Watch()
    watch.passes("203.0.113.1")
    for host in range(100):
        watch.fails(f"192.0.2.{host}")

    assert watch.admits("203.0.113.1")
    assert not watch.admits("203.0.113.2")
    watch.now += KNOWN_FOR + 1
    watch.fails("192.0.2.200", times=5)
    assert not watch.admits("203.0.113.1")


def test_a_forgotten_device_at_home_locks_out_nobody_elsewhere() -> None:
    """Its failures count for its network only."""
    watch = Watch()
    watch.passes("203.0.113.1")
    watch.fails("203.0.113.1", times=50)

    assert not watch.admits("203.0.113.1")
    assert watch.admits("198.51.100.1")


def test_a_right_password_clears_nothing() -> None:
    """An attacker with an account of his own gains no tries."""
    watch = Watch()
    watch.fails("192.0.2.1", times=3)
    watch.passes("192.0.2.1", "mallory@test.com")

    assert not watch.admits("192.0.2.1")


def test_limits_can_be_switched_off() -> None:
    """``login.failures_per_client: null``."""
    watch = Watch(None, None)
    watch.fails("192.0.2.1", times=1000)

    assert watch.admits("192.0.2.1")


@pytest.mark.parametrize(("hashers", "most"), [(1, 4), (2, 4), (8, 16)])
def test_one_client_cannot_fill_the_threads(hashers: int, most: int) -> None:
    """Its checks beyond a few are put off; those of others go on."""
    watch = Watch(hashers=hashers)
    with ExitStack() as stack:
        for port in range(most):
            stack.enter_context(watch.guard.place(Client("192.0.2.1", port)))
        with pytest.raises(TooBusy), watch.guard.place(Client("192.0.2.1", 99)):
            pass
        stack.enter_context(watch.guard.place(Client("192.0.2.2", 1)))

    with watch.guard.place(Client("192.0.2.1", 99)):
        pass


def test_an_exempt_client_may_have_all_threads() -> None:
    """A webmail server on this machine checks many users at once."""
    watch = Watch()
    with ExitStack() as stack:
        for port in range(50):
            stack.enter_context(watch.guard.place(Client("127.0.0.1", port)))
