"""Rewritten senders: found again by us, made by nobody else, and good for some weeks."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.model.address import parse_address
from mailsvc.policy.srs import GOOD_FOR, NotRewritten, is_rewritten, restore, rewrite

NOW = datetime(2026, 11, 24, tzinfo=UTC)
SECRET = b"secret"
OLD = parse_address("bob@far.example")


@given(
    st.text("abcXYZ019+_=-", min_size=1, max_size=20).map(lambda one: f"x{one}x"),
    st.integers(0, 4000),
)
def test_what_was_rewritten_is_restored(local: str, days: int) -> None:
    """Whatever the address, at any time."""
    old, now = parse_address(f"{local}@far.example"), NOW + timedelta(days=days)
    new = rewrite(old, "test.com", SECRET, now)

    assert new is not None
    assert is_rewritten(new)
    assert parse_address(str(new)) == new
    assert restore(new, SECRET, now + timedelta(days=GOOD_FOR)) == old


def test_a_second_forwarder_keeps_it_short() -> None:
    """SRS1 names the first one, and leads back to it; a third one changes its hash only."""
    first = rewrite(OLD, "one.example", b"one", NOW)
    assert first is not None
    second = rewrite(first, "two.example", b"two", NOW)
    assert second is not None
    third = rewrite(second, "three.example", b"three", NOW)
    assert third is not None

    assert len(third.local) == len(second.local)
    assert restore(second, b"two", NOW) == restore(third, b"three", NOW) == first
    assert restore(first, b"one", NOW) == OLD


@pytest.mark.parametrize("local", ["SRS0=AAAAAA=AA=far.example=bob", "SRS0=", "SRS1=x", "bob"])
def test_nobody_else_makes_one(local: str) -> None:
    """Or everybody could send through us."""
    with pytest.raises(NotRewritten):
        restore(parse_address(f"{local}@test.com"), SECRET, NOW)


def test_an_old_one_is_good_no_more() -> None:
    """Nor is one from the future."""
    new = rewrite(OLD, "test.com", SECRET, NOW)
    assert new is not None
    for days in (GOOD_FOR + 1, 500, -1):
        with pytest.raises(NotRewritten):
            restore(new, SECRET, NOW + timedelta(days=days))


def test_small_letters_do_no_harm() -> None:
    """Some servers write every address so."""
    new = rewrite(OLD, "test.com", SECRET, NOW)
    assert new is not None
    assert restore(parse_address(str(new).lower()), SECRET, NOW) == OLD


def test_what_would_be_too_long_stays() -> None:
    """RFC 5321 section 4.5.3.1.1."""
    assert rewrite(parse_address(f"{'x' * 50}@far.example"), "test.com", SECRET, NOW) is None
