"""Who a message claims to be from; RFC 5322 section 3.4."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.model.address import Address, parse_address
from mailsvc.model.mailboxes import BadMailboxes, Mailbox, parse_mailboxes

NAMES = st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", codec="utf-8"))
LOCALS = st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", codec="utf-8")).filter(
    lambda text: len(text.encode()) <= 64
)
DOMAINS = st.sampled_from(["test.com", "[192.0.2.1]", "[IPv6:2001:db8::1]", "xn--fsqu00a.test"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alice@test.com", [("", "alice@test.com")]),
        ("<alice@test.com>", [("", "alice@test.com")]),
        ("Alice <alice@test.com>", [("Alice", "alice@test.com")]),
        ("John Q. Public <john@test.com>", [("John Q. Public", "john@test.com")]),
        ('"Public, John \\"Q\\"" <j@test.com>', [('Public, John "Q"', "j@test.com")]),
        ("=?utf-8?q?Gr=C3=BC?= <g@test.com>", [("=?utf-8?q?Gr=C3=BC?=", "g@test.com")]),
        ("Grüße <grüße@test.com>", [("Grüße", "grüße@test.com")]),
        ("用户 <用户@例子.测试>", [("用户", "用户@例子.测试")]),
        ('"a b"@test.com', [("", '"a b"@test.com')]),
        ("(a (nested \\) one)) alice @ test.com (Alice)", [("", "alice@test.com")]),
        ("a@test.com, B <b@test.com>", [("", "a@test.com"), ("B", "b@test.com")]),
        (" , a@test.com,, b@[192.0.2.1] ,", [("", "a@test.com"), ("", "b@[192.0.2.1]")]),
        ('"" <a@test.com>', [("", "a@test.com")]),
        ("Alice<a@TEST.com>", [("Alice", "a@test.com")]),
    ],
)
def test_lists_are_read(text: str, expected: list[tuple[str, str]]) -> None:
    """Names, comments, quotes, any script."""
    wanted = [Mailbox(name, parse_address(address, utf8=True)) for name, address in expected]

    assert list(parse_mailboxes(text)) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        " , ",
        "(only a comment)",
        "alice",
        "alice@",
        "@test.com",
        "a b@test.com",
        "a@test.com b@test.com",
        "<a@test.com> x",
        "<a@test.com",
        "a@test.com>",
        "<<a@test.com>>",
        "eve@evil.example <alice@test.com>",
        "team: a@test.com, b@test.com;",
        "undisclosed:;",
        '"not closed <a@test.com>',
        "a@test.com (not closed",
        "a@test.com )",
        "a\0@test.com",
        "a@test..com",
        "a@[300.0.0.1]",
        "<@relay.example:a@test.com>",
    ],
)
def test_what_is_no_list_is_refused(text: str) -> None:
    """With a reason that is safe to show; groups, too."""
    with pytest.raises(BadMailboxes, match=r"[a-z]{3}"):
        parse_mailboxes(text)


@given(st.lists(st.builds(Mailbox, NAMES, st.builds(Address, LOCALS, DOMAINS)), min_size=1))
def test_what_we_print_we_read_back(mailboxes: list[Mailbox]) -> None:
    """Any name and any local part survive."""
    assert list(parse_mailboxes(", ".join(map(str, mailboxes)))) == mailboxes


@given(st.text() | st.text(alphabet='ab@.<>,:;"\\()[] \t\0', max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    """It answers or refuses, and its answer is read again."""
    try:
        found = parse_mailboxes(text)
    except BadMailboxes:
        return
    assert parse_mailboxes(", ".join(map(str, found))) == found


@pytest.mark.parametrize(
    "text", ["(" * 200_000, '"' + "\\" * 200_000, "<" * 200_000, "a," * 100_000, "[" * 200_000]
)
def test_a_long_text_takes_no_longer_than_it_should(text: str) -> None:
    """Time grows with the length, not with its square."""
    began = time.process_time()
    with pytest.raises(BadMailboxes):
        parse_mailboxes(text)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("piece", ["a@b.c,", ",", "a ", "()", '"a" ', "a@例.测试,"])
def test_nobody_makes_the_others_wait(piece: str) -> None:
    """One message of one user stops the whole service for no longer than this."""
    began = time.process_time()
    with pytest.raises(BadMailboxes):
        parse_mailboxes(piece * (256 * 1024 // len(piece)))
    assert time.process_time() - began < 0.05


def test_a_list_has_an_end() -> None:
    """Each address of From: is looked up: nobody makes us look up thousands."""
    assert len(parse_mailboxes("a@b.c," * 100)) == 100
    with pytest.raises(BadMailboxes, match="too many"):
        parse_mailboxes("a@b.c," * 101)
