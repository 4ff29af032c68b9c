"""How SMTP commands are read; RFC 5321 section 4.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.errors import BadMailbox
from mailsvc.smtp.grammar import (
    BadSyntax,
    parse_forward_path,
    parse_helo,
    parse_path_argument,
    parse_reverse_path,
    split_command,
)


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (b"noop", (b"NOOP", b"")),
        (b"MAIL FROM:<a@b>  ", (b"MAIL", b"FROM:<a@b>")),
        (b"", (b"", b"")),
        (b"\xff x", (b"\xff", b"x")),
    ],
)
def test_a_line_is_verb_and_argument(line: bytes, parts: tuple[bytes, bytes]) -> None:
    """Verbs have no case; white space at the end does not count."""
    assert split_command(line) == parts


def test_parameters_are_read() -> None:
    """Keywords have no case, values do."""
    parsed = parse_path_argument(b"from:<a@b> size=10 Body=8bitmime SMTPUTF8", "FROM:")

    assert parsed.path == "a@b"
    assert parsed.parameters == {"SIZE": "10", "BODY": "8bitmime", "SMTPUTF8": None}


@pytest.mark.parametrize(
    "argument",
    [
        b"",
        b"<a@b>",
        b"FROM <a@b>",
        b"FROM:a@b",
        b"FROM:<a@b",
        b"FROM:<a@b> =x",
        b"FROM:<a@b> A=B=C",
    ],
)
def test_what_is_written_otherwise_is_refused(argument: bytes) -> None:
    """Nothing is guessed."""
    with pytest.raises(BadSyntax):
        parse_path_argument(argument, "FROM:")


def test_the_null_path_is_a_sender_only() -> None:
    """RFC 5321 section 4.5.5."""
    assert parse_reverse_path("") is None
    with pytest.raises(BadMailbox):
        parse_forward_path("", "test.com")


def test_postmaster_needs_no_domain() -> None:
    """RFC 5321 section 4.1.1.3."""
    assert str(parse_forward_path("PostMaster", "test.com")) == "PostMaster@test.com"
    with pytest.raises(BadMailbox):
        parse_forward_path("postmaster", None)


@given(st.binary(max_size=100))
def test_no_octets_break_the_parsers(octets: bytes) -> None:
    """They answer or refuse, nothing else; a HELO name is always safe in a header."""
    split_command(octets)
    name = parse_helo(octets)
    assert name is None or (name.isascii() and name.isprintable() and " " not in name)
    for argument in (octets, b"TO:<" + octets + b">"):
        try:
            parsed = parse_path_argument(argument, "TO:")
            parse_forward_path(parsed.path, "test.com")
        except (BadSyntax, BadMailbox):
            continue


def test_an_ipv6_literal_is_no_source_route() -> None:
    """Its colons once made the reader take it for one and drop it."""
    parsed = parse_path_argument(b"TO:<@relay.example:bob@[IPv6:2001:db8::1]>", "TO:")

    assert parsed.path == "bob@[IPv6:2001:db8::1]"
    assert parse_path_argument(b"TO:<bob@[IPv6:::1]>", "TO:").path == "bob@[IPv6:::1]"
