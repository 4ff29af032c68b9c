"""Changed settings, laid over those of config.yaml."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.config.changes import changed_path, fitting, laid_over, leaves, value_at
from mailsvc.config.load import parse, parse_value, plain, validate
from mailsvc.config.settings import Settings
from mailsvc.config.units import (
    Rate,
    format_octets,
    format_rate,
    format_seconds,
    parse_octets,
    parse_rate,
    parse_seconds,
)
from mailsvc.errors import ConfigError

FILE = parse(
    """
    hostname: mail.test.com
    database: {url: "postgresql+psycopg://us:er:secret@here/mail"}
    listeners: {mx: {kind: smtp, port: 25, proxies: [192.0.2.0/24]}}
    limits: {client_messages: 7/90s, login_messages: null}
    tls: {certificates: [{certificate: a.pem, key: b.pem}]}
    log: {folders: {smtp: there}}
    retention: {trail: null}
    """,
    Path("/etc/mailsvc/config.yaml"),
)


@given(st.integers(0, 1 << 50))
def test_sizes_are_written_as_they_are_read(octets: int) -> None:
    """Also in units."""
    assert parse_octets(format_octets(octets)) == octets
    assert parse_octets(format_octets(octets * 1024)) == octets * 1024


@given(st.floats(0, 1e12) | st.integers(0, 10**9).map(float))
def test_times_are_written_as_they_are_read(seconds: float) -> None:
    """Parts of a second stay numbers."""
    assert parse_seconds(format_seconds(seconds)) == seconds


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_rates_are_written_as_they_are_read(amount: int, seconds: int) -> None:
    """A number, a slash and a time."""
    rate = Rate(amount, float(seconds))
    assert parse_rate(format_rate(rate)) == rate


@pytest.mark.parametrize("settings", [Settings(), FILE])
def test_settings_are_written_as_they_are_read(settings: Settings) -> None:
    """All of them, with paths, networks and what is null."""
    assert validate(plain(settings)) == settings


def test_a_change_lies_over_the_file() -> None:
    """A section comes before what it holds; the rest stays."""
    settings = laid_over(
        FILE,
        {
            "listeners.lan.port": 2530,
            "listeners.lan": {"kind": "smtp", "port": 2525},
            "smtp.largest_message": "50 MiB",
            "limits.client_messages": None,
        },
    )

    assert settings.listeners["lan"].port == 2530
    assert settings.listeners["mx"] == FILE.listeners["mx"]
    assert settings.smtp.largest_message == 50 * 1024 * 1024
    assert settings.limits.client_messages is None
    assert settings.log == FILE.log


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("smtp.largest", 1, "there is no such setting"),
        ("smtp.largest_message.octets", 1, "has no parts"),
        ("smtp.largest_message", "much", "a size is octets"),
        ("listeners.mx.port", 70000, "65535"),
        ("listeners.lan", {"kind": "smtp", "port": 25}, "the listener mx has it already"),
        ("listeners.lan.port", 25, "kind"),
        ("spool.total_memory", "1 MiB", "must not be below"),
        ("log.folder", "logs", "write the whole path"),
        ("log.folders.imap", "/logs", "'smtp', 'pop3'"),
        ("hostname", "a b", "hostname"),
    ],
)
def test_what_does_not_fit_is_told(path: str, value: Any, said: str) -> None:
    """With its place, as for config.yaml."""
    with pytest.raises(ConfigError, match=said):
        laid_over(FILE, {path: value})


def test_changes_that_do_not_fit_any_more_are_left_out() -> None:
    """The file was edited since; the others count."""
    settings, left_out = fitting(FILE, {"listeners.gone.port": 1, "smtp.most_errors": 3})

    assert settings.smtp.most_errors == 3
    assert settings.listeners == FILE.listeners
    assert list(left_out) == ["listeners.gone.port"]


@pytest.mark.parametrize("path", ["state", "database.url", "control.socket", "first_run", "smtp"])
def test_some_settings_count_at_the_start_only(path: str) -> None:
    """And a section is not changed as one."""
    with pytest.raises(ConfigError, match=r"at the start only|is a section"):
        changed_path(path, FILE)


def test_passwords_are_not_shown() -> None:
    """The rest of the URL is."""
    assert leaves(FILE)["database.url"] == "postgresql+psycopg://us:***@here/mail"


def test_one_value_is_found() -> None:
    """As config.yaml would have it."""
    assert value_at(FILE, "limits.client_messages") == "7/90s"
    with pytest.raises(ConfigError, match="no such setting"):
        value_at(FILE, "limits.client")


@pytest.mark.parametrize(
    ("text", "value"),
    [("-", "-"), ("=", "="), ("", ""), ("null", None), ("25", 25), ("{a: [b]}", {"a": ["b"]})],
)
def test_a_value_is_read_as_in_the_file(text: str, value: object) -> None:
    """What is only a sign of YAML is meant as it stands."""
    assert parse_value(text) == value


@given(st.text(max_size=30))
def test_no_text_breaks_the_reader(text: str) -> None:
    """It is a value, or it is told."""
    with suppress(ConfigError):
        value = parse_value(text)
        assert laid_over(FILE, {"hostname": value}).hostname == value
