"""When mail is tried again: soon at first, seldom later, and not for ever."""

from datetime import UTC, datetime, timedelta

import pytest

from mailsvc.config.settings import OutboundSettings
from mailsvc.policy.retry import next_attempt, retry_delay

NOW = datetime(2026, 11, 24, tzinfo=UTC)
DEFAULTS = OutboundSettings()


def test_the_delay_doubles_up_to_the_longest() -> None:
    """5, 10, 20 minutes and so on, up to 4 hours, however often it failed."""
    delays = [retry_delay(number, DEFAULTS) for number in (*range(1, 9), 10_000)]
    minutes = [5, 10, 20, 40, 80, 160, 240, 240, 240]
    assert delays == [timedelta(minutes=one) for one in minutes]


def test_a_server_that_was_down_for_half_an_hour_gets_its_mail() -> None:
    """At the first attempt behind it: 35 minutes after the first one."""
    at, failures = NOW, 0
    while at < NOW + timedelta(minutes=30):
        failures += 1
        again = next_attempt(failures, NOW + timedelta(days=5), at, DEFAULTS)
        assert again is not None
        at = again
    assert at == NOW + timedelta(minutes=35)


def test_the_last_attempt_is_at_the_end() -> None:
    """However long the delay would be; behind it there is none."""
    expires = NOW + timedelta(minutes=30)
    assert next_attempt(9, expires, NOW, DEFAULTS) == expires
    assert next_attempt(9, expires, expires, DEFAULTS) is None


def test_there_is_no_attempt_before_a_failure() -> None:
    """A fault of ours is told."""
    with pytest.raises(ValueError, match="0"):
        next_attempt(0, NOW, NOW, DEFAULTS)
