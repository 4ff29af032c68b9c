"""What commands say of times, to people."""

from datetime import UTC, datetime, timedelta

import pytest

from mailsvc.cli.output import end


@pytest.mark.parametrize(
    ("span", "shape"),
    [
        (timedelta(seconds=5), "%Y-%m-%d %H:%M:%S UTC"),
        (timedelta(minutes=4), "%Y-%m-%d %H:%M:%S UTC"),
        (timedelta(minutes=6), "%Y-%m-%d %H:%M UTC"),
        (timedelta(days=3), "%Y-%m-%d %H:%M UTC"),
    ],
)
def test_an_end_that_is_near_is_told_to_the_second(span: timedelta, shape: str) -> None:
    """Or it would seem to be over."""
    when = datetime.now(UTC) + span
    assert end(when) == when.strftime(shape)
