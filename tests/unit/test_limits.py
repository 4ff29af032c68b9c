"""Rates and connections of clients: never more than they say, each client for itself."""

from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.config.units import Rate
from mailsvc.policy.crowd import Crowd
from mailsvc.policy.limits import Throttle, is_exempt, network_of

RATES = st.builds(Rate, st.integers(1, 50), st.floats(0.1, 100_000.0))
STEPS = st.lists(
    st.tuples(st.floats(0, 2.0), st.integers(1, 5), st.sampled_from("ab")), max_size=300
)
"""Pauses in parts of the rate's time, amounts, keys."""


class TestThrottle:
    """A bucket that leaks for each key."""

    def test_the_whole_amount_may_come_at_once(self) -> None:
        """A client that was quiet is not slowed down before the limit."""
        throttle = Throttle(Rate(3, 60.0))

        assert [throttle.take("a", 100.0) for _ in range(4)] == [True, True, True, False]

    def test_what_was_taken_drains_evenly(self) -> None:
        """After a third of the time, a third of the amount is free again."""
        throttle = Throttle(Rate(3, 60.0))
        assert throttle.take("a", 0.0, 3)

        assert not throttle.take("a", 19.0)
        assert throttle.take("a", 20.0)
        assert not throttle.take("a", 20.0)

    def test_a_refusal_counts_nothing(self) -> None:
        """Who asks again and again does not wait longer for it."""
        throttle = Throttle(Rate(1, 10.0))
        assert throttle.take("a", 0.0)
        for second in range(10):
            assert not throttle.take("a", float(second))

        assert throttle.take("a", 10.0)

    def test_full_and_wait_tell_what_take_would_say(self) -> None:
        """Asking does not count."""
        throttle = Throttle(Rate(2, 60.0))
        assert not throttle.full("a", 0.0)
        assert throttle.take("a", 0.0, 2)

        assert throttle.full("a", 12.0)
        assert throttle.wait("a", 12.0) == pytest.approx(18.0)
        assert not throttle.full("a", 30.0)
        assert throttle.wait("a", 30.0) == 0.0

    def test_a_forgotten_key_starts_anew(self) -> None:
        """A login that is right clears those that were wrong."""
        throttle = Throttle(Rate(1, 60.0))
        assert throttle.take("a", 0.0)

        throttle.forget("a")
        throttle.forget("never seen")

        assert throttle.take("a", 0.0)

    def test_a_clock_that_is_set_back_locks_nobody_out(self) -> None:
        """The wait is never longer than the rate's time."""
        throttle = Throttle(Rate(2, 60.0))
        assert throttle.take("a", 1_000_000.0, 2)

        assert not throttle.take("a", 0.0)
        assert throttle.wait("a", 0.0) == pytest.approx(30.0)

    @given(RATES, STEPS)
    def test_no_window_holds_more_than_the_amount_and_the_burst(
        self, rate: Rate, steps: list[tuple[float, int, str]]
    ) -> None:
        """Whatever a client does, in the rate's time it gets at most twice the amount."""
        throttle, now = Throttle(rate), 0.0
        taken: list[tuple[float, int]] = []
        for pause, amount, key in steps:
            now += pause * rate.seconds / 10
            if throttle.take(key, now, amount) and key == "a":
                taken.append((now, amount))

        for start, _ in taken:
            window = [n for when, n in taken if start <= when <= start + rate.seconds]
            assert sum(window) <= 2 * rate.amount + 1e-2

    @given(RATES, STEPS)
    def test_keys_do_not_see_each_other(
        self, rate: Rate, steps: list[tuple[float, int, str]]
    ) -> None:
        """What one client hears does not depend on the others."""
        together, alone, now = Throttle(rate), Throttle(rate), 0.0
        for pause, amount, key in steps:
            now += pause * rate.seconds / 10
            heard = together.take(key, now, amount)
            if key == "a":
                assert heard == alone.take(key, now, amount)

    @given(RATES, STEPS)
    def test_full_never_differs_from_take(
        self, rate: Rate, steps: list[tuple[float, int, str]]
    ) -> None:
        """A caller may ask first and take later."""
        throttle, now = Throttle(rate), 0.0
        for pause, _, key in steps:
            now += pause * rate.seconds / 10
            full = throttle.full(key, now)
            assert throttle.take(key, now) is not full

    @given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 5))), st.integers(1, 10))
    def test_memory_is_bounded(self, steps: list[tuple[int, float]], most: int) -> None:
        """A flood of addresses costs no more than its share."""
        throttle, now = Throttle(Rate(2, 10.0), most_keys=most), 0.0
        for key, pause in steps:
            now += pause
            throttle.take(key, now)
            assert len(throttle) <= most

    def test_keys_that_are_drained_are_forgotten(self) -> None:
        """A quiet day costs no memory for yesterday's clients."""
        throttle = Throttle(Rate(2, 10.0))
        for key in range(100):
            throttle.take(key, 0.0)

        for key in range(100, 150):
            throttle.take(key, 60.0)

        assert len(throttle) <= 51

    def test_who_is_over_the_limit_is_not_forgotten_for_newcomers(self) -> None:
        """A client that goes on asking stays known, whoever else comes."""
        throttle = Throttle(Rate(1, 60.0), most_keys=3)
        assert throttle.take("loud", 0.0)
        for key in range(20):
            assert not throttle.take("loud", 1.0)
            assert throttle.take(key, 1.0)

        assert not throttle.take("loud", 1.0)


class TestNetworks:
    """Who is one client, and who is exempt."""

    @pytest.mark.parametrize(
        ("ip", "network"),
        [
            ("192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("::nonsense", "::nonsense"),
            ("", ""),
        ],
    )
    def test_one_client_is_an_address_or_64_bits(self, ip: str, network: str) -> None:
        """An owner of an IPv6 network has all its addresses."""
        assert network_of(ip) == network

    @pytest.mark.parametrize(
        ("ip", "exempt"),
        [
            ("10.1.2.3", True),
            ("11.1.2.3", False),
            ("2001:db8::7", True),
            ("2001:db9::7", False),
            ("nonsense", False),
        ],
    )
    def test_networks_hold_their_addresses(self, ip: str, *, exempt: bool) -> None:
        """IPv4 and IPv6 stand side by side."""
        networks = (IPv4Network("10.0.0.0/8"), IPv6Network("2001:db8::/32"))

        assert is_exempt(ip, networks) is exempt
        assert not is_exempt(ip, ())

    def test_other_networks_count_at_once(self) -> None:
        """Whatever was found for the networks before them."""
        ours, theirs = (IPv4Network("10.0.0.0/8"),), (IPv4Network("11.0.0.0/8"),)

        for _ in range(2):
            assert is_exempt("10.1.2.3", ours)
            assert not is_exempt("10.1.2.3", theirs)
            assert is_exempt("10.1.2.3", (*ours,))

    def test_many_clients_are_told_apart(self) -> None:
        """More than are remembered."""
        networks = (IPv4Network("10.0.0.0/8"),)
        ips = [f"{10 + number % 2}.0.{number // 200}.{number % 200}" for number in range(10_000)]

        for _ in range(2):
            assert all(is_exempt(ip, networks) is ip.startswith("10.") for ip in ips)


class TestCrowd:
    """Connections of one client."""

    def test_one_client_has_so_many_places(self) -> None:
        """Another one finds its own."""
        crowd = Crowd(2, None)
        assert crowd.enter("192.0.2.7", 0.0)
        assert crowd.enter("192.0.2.7", 0.0)

        assert crowd.enter("192.0.2.7", 0.0) is None
        assert crowd.enter("192.0.2.8", 0.0)

    def test_a_place_that_was_left_is_free(self) -> None:
        """Nothing stays behind."""
        crowd = Crowd(1, None)
        for _ in range(3):
            leave = crowd.enter("192.0.2.7", 0.0)
            assert leave is not None
            assert len(crowd) == 1
            leave()

        assert len(crowd) == 0

    def test_one_ipv6_network_is_one_client(self) -> None:
        """Its owner cannot take a new address for each connection."""
        crowd = Crowd(1, None)
        assert crowd.enter("2001:db8::1", 0.0)

        assert crowd.enter("2001:db8::2", 0.0) is None
        assert crowd.enter("2001:db8:0:1::1", 0.0)

    def test_new_connections_have_a_rate(self) -> None:
        """A client that comes and goes all the time must slow down."""
        crowd = Crowd(10, Rate(2, 60.0))
        for _ in range(2):
            leave = crowd.enter("192.0.2.7", 0.0)
            assert leave is not None
            leave()

        assert crowd.enter("192.0.2.7", 0.0) is None
        assert crowd.enter("192.0.2.7", 30.0)

    def test_a_full_house_does_not_count_against_the_rate(self) -> None:
        """Who was refused for the one limit is not refused for the other."""
        crowd = Crowd(1, Rate(2, 60.0))
        leave = crowd.enter("192.0.2.7", 0.0)
        assert leave is not None
        assert [crowd.enter("192.0.2.7", 0.0) for _ in range(5)] == [None] * 5
        leave()

        assert crowd.enter("192.0.2.7", 0.0)
