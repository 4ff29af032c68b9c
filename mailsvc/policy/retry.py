"""When mail that could not be delivered is tried again; RFC 5321 section 4.5.4.1."""

from datetime import datetime, timedelta

from mailsvc.config.settings import OutboundSettings


def next_attempt(
    failures: int, expires: datetime, now: datetime, settings: OutboundSettings
) -> datetime | None:
    """
    Choose the time of the next attempt.

    The delay doubles after each failure: a long outage must not flood the peer.

    Args:
        failures: Failed attempts so far, the latest included; at least 1.
        expires: When to give up, aware UTC.
        now: When the latest attempt failed, aware UTC.
        settings: First and longest delay.

    Returns:
        Aware UTC; None when the time is over: bounce it.

    Raises:
        ValueError: *failures* is below 1.
    """
    if failures < 1:
        raise ValueError(failures)
    if now >= expires:
        return None
    # A last attempt is made when the time is over, however long the delay would be.
    return min(now + retry_delay(failures, settings), expires)


def retry_delay(failures: int, settings: OutboundSettings) -> timedelta:
    """Give the time between a failure and the next attempt."""
    longest = max(settings.longest_retry, settings.first_retry)
    doublings = min(failures - 1, 32)
    return timedelta(seconds=min(settings.first_retry * 2**doublings, longest))
