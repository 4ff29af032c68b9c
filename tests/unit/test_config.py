"""Settings: every mistake is told with its place, its value and what is allowed."""

from pathlib import Path

import pytest

from mailsvc.config.load import load, parse
from mailsvc.config.settings import Kind, Settings
from mailsvc.config.units import parse_octets, parse_seconds
from mailsvc.errors import ConfigError
from mailsvc.store.engine import parse_url

PATH = Path("/etc/mailsvc/config.yaml")


def complaint(text: str) -> str:
    """Give what is said of a wrong file, without the path in front."""
    with pytest.raises(ConfigError) as caught:
        parse(text, PATH)
    return str(caught.value).replace(f"{PATH}: ", "")


def test_an_empty_file_means_the_defaults() -> None:
    """Every key is optional."""
    assert parse("", PATH).smtp == Settings().smtp
    assert parse("# nothing\n", PATH).listeners["pop3"].kind is Kind.POP3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "smtp: {largest_mesage: 5}",
            'smtp.largest_mesage: there is no such setting; did you mean "smtp.largest_message"?',
        ),
        ("colour: red", "colour: there is no such setting; the settings here are: state, "),
        (
            "smtp: {largest_message: 5 Mb}",
            "smtp.largest_message: '5 Mb' is not possible: a size is octets, or a number with",
        ),
        ("pop3: {lease: soon}", "pop3.lease: 'soon' is not possible: a time is seconds, "),
        ("pop3: {lease: 0}", "pop3.lease: 0 is not possible: it should be greater than 0"),
        (
            "retention: {trail: 0}",
            "retention.trail: 0 is not possible: it should be above 0",
        ),
        (
            "retention: {trail: 999999d}",
            "retention.trail: '999999d' is not possible: it should be ",
        ),
        ("retention: {trail: never}", "retention.trail: 'never' is not possible: a time is "),
        ("limits: {connections: '5'}", "limits.connections: '5' is not possible: it should be a"),
        ("limits: {connections: -1}", "limits.connections: -1 is not possible: "),
        ("login: {without_tls: maybe}", "login.without_tls: 'maybe' is not possible: it should "),
        ("smtp: 5", "smtp: this is 5, but it must be a list of settings"),
        ("- smtp", "the file: this is ['smtp'], but it must be a list of settings"),
        ("listeners: {mx: {kind: smtp}}", "listeners.mx.port: this setting is missing"),
        ("listeners: {mx: {kind: smtp, port: 70000}}", "listeners.mx.port: 70000 is not possible"),
        (
            "listeners: {a: {kind: smtp, port: 25}, b: {kind: pop3, port: 25}}",
            "listeners.b.port: 25 is not possible: the listener a has it already",
        ),
        ("hostname: not_a_name", "hostname: 'not_a_name' is not possible: the domain is not a "),
        (
            "spool: {total_memory: 1 KiB}",
            "spool.total_memory: 1024 is not possible: it must not be below spool.message_memory",
        ),
        ("smtp: {largest_message: .inf}", "smtp.largest_message: inf is not possible: a size is"),
        ("pop3: {lease: .inf}", "pop3.lease: inf is not possible: a time is seconds, "),
        ("pop3: {lease: .nan}", "pop3.lease: nan is not possible: a time is seconds, "),
        (
            f"smtp: {{largest_message: 1{'0' * 400}}}",
            "smtp.largest_message: 1000",
        ),
        (
            "limits: {exempt: [10.0.0.0/33]}",
            "limits.exempt.0: '10.0.0.0/33' is not possible: a network is an address and the bits",
        ),
        (
            "listeners: {mx: {kind: smtp, port: 25, proxies: [mail.test.com]}}",
            "listeners.mx.proxies.0: 'mail.test.com' is not possible: a network is an address",
        ),
        ("limits: {exempt: [10]}", "limits.exempt.0: 10 is not possible: a network is an address"),
        (
            "limits: {exempt: [10.0.0.1/8]}",
            "limits.exempt.0: '10.0.0.1/8' is not possible: its network is 10.0.0.0/8",
        ),
        (
            "limits: {exempt: 10.0.0.0/8}",
            "limits.exempt: '10.0.0.0/8' is not possible: it should be a list",
        ),
        ("limits: {client_messages: 0}", "limits.client_messages: 0 is not possible: a rate is"),
        ("limits: {client_messages: '60'}", "limits.client_messages: '60' is not possible: a rate"),
        ("smtp: {subaddress: '@'}", "smtp.subaddress: '@' is not possible: it should be '', '+', "),
        ("tls: {oldest_version: 1.1}", "tls.oldest_version: '1.1' is not possible: it should be"),
        ("hostname: 2020-13-45", "this is not YAML: month must be in 1..12"),
        ("state: ~nobody-here/mail", "a path begins with ~ and means nobody: "),
        ("log: {folder: ~nobody-here/log}", "a path begins with ~ and means nobody: "),
        ("smtp: [", "line 1, column 8: this is not YAML: "),
        ("a: 1\na: 2", 'line 2, column 1: this is not YAML: the key "a" stands here a second'),
    ],
)
def test_a_mistake_is_told_where_it_is(text: str, said: str) -> None:
    """One line that names the path, the value and what is allowed."""
    found = complaint(text).replace(f"{PATH}:", "").strip()

    assert found.startswith(said)
    assert "\n" not in found


def test_all_mistakes_are_told_at_once() -> None:
    """A line for each."""
    assert len(complaint("smtp: {a: 1, b: 2}\npop3: {lease: x}").splitlines()) == 3


def test_relative_paths_start_at_the_file() -> None:
    """So the daemon finds them from any folder."""
    settings = parse("state: here\nlog: {folder: ../logs}", PATH)

    assert settings.state == Path("/etc/mailsvc/here")
    assert settings.log_folder == Path("/etc/mailsvc/../logs")
    assert settings.control_socket == Path("/etc/mailsvc/here/control.sock")
    assert settings.database_url == "sqlite:////etc/mailsvc/here/mailsvc.db"


def test_a_version_needs_no_quotes() -> None:
    """YAML takes it for a number; people do not."""
    assert parse("tls: {oldest_version: 1.3}", PATH).tls.oldest_version == "1.3"


def test_an_address_is_a_network() -> None:
    """Of itself."""
    settings = parse('limits: {exempt: [192.0.2.7, "2001:DB8:0::/32"]}', PATH)

    assert [str(one) for one in settings.limits.exempt] == ["192.0.2.7/32", "2001:db8::/32"]


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """With the option that names it."""
    with pytest.raises(ConfigError, match=r"there is no such file; name your config\.yaml with -c"):
        load(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    ("text", "octets"), [(5, 5), ("5", 5), ("1 KiB", 1024), ("1.5MiB", 1572864), ("2gib", 2 << 30)]
)
def test_sizes_have_units(text: object, octets: int) -> None:
    """Octets, KiB, MiB, GiB."""
    assert parse_octets(text) == octets


@pytest.mark.parametrize(
    ("text", "seconds"), [(5, 5.0), ("90", 90.0), ("5m", 300.0), ("1.5 h", 5400.0), ("2d", 172800)]
)
def test_times_have_units(text: object, seconds: float) -> None:
    """Seconds, minutes, hours, days."""
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("url", ["nonsense", "postgresql://u:p@host:port/db", "oracle://h/db"])
def test_a_url_that_cannot_be_used_is_told(url: str) -> None:
    """Never as a traceback."""
    with pytest.raises(ConfigError, match=r"^database\.url: "):
        parse_url(url)


def test_records_may_be_kept_for_ever(tmp_path: Path) -> None:
    """With null; the other kind keeps its default."""
    file = tmp_path / "config.yaml"
    file.write_text("retention: {trail: null}")

    kept = load(file).retention

    assert (kept.trail, kept.expunged) == (None, 30 * 86_400)
