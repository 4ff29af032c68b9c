"""Mail addresses; RFC 5321 section 4.1.2, RFC 6531 section 3.3."""

import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.model.address import Address, BadAddress, parse_address, parse_domain


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("bob@test.com", "bob", "test.com"),
        ("Bob.Smith+tag@Test.COM", "Bob.Smith+tag", "test.com"),
        ("!#$%&'*+/=?^_`{|}~-@a", "!#$%&'*+/=?^_`{|}~-", "a"),
        ('"a b"@test.com', "a b", "test.com"),
        ('"a\\"b"@test.com', 'a"b', "test.com"),
        ('"a@b"@test.com', "a@b", "test.com"),
        ('""@test.com', "", "test.com"),
        ("x@[127.0.0.1]", "x", "[127.0.0.1]"),
        ("x@[IPv6:2001:DB8::0001]", "x", "[IPv6:2001:db8::1]"),
        ("x@xn--fsqu00a.xn--0zwm56d", "x", "xn--fsqu00a.xn--0zwm56d"),
    ],
)
def test_addresses_are_read(text: str, local: str, domain: str) -> None:
    """Stock Twisted refuses literals and quoted pairs."""
    assert parse_address(text) == Address(local, domain)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bob",
        "@test.com",
        "bob@",
        "a..b@test.com",
        ".a@test.com",
        "a b@test.com",
        "a@b@test.com",
        "a@test..com",
        "a@-test.com",
        "a@test_x.com",
        '"a@test.com',
        '"a"b@test.com',
        '"a\n"@test.com',
        "a@[1.2.3]",
        "a@[1.2.3.4",
        "a@[IPv6:xyz]",
        "a@[300.1.1.1]",
        "用户@例子.测试",
        "a" * 65 + "@test.com",
        "a@" + "b" * 64 + ".com",
        "a@" + ".".join(["b" * 60] * 5),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """With a reason that is safe to show."""
    with pytest.raises(BadAddress):
        parse_address(text)


def test_utf8_addresses_are_read_where_allowed() -> None:
    """A domain in any script becomes its A-labels, the local part stays."""
    address = parse_address("用户@例子.测试", utf8=True)

    assert address == Address("用户", "xn--fsqu00a.xn--0zwm56d")
    assert not address.ascii
    assert parse_domain("例子.测试", utf8=True) == address.domain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("用户@例子.测试", "用户@例子.测试"),
        ("a@xn--fsqu00a.xn--0zwm56d", "a@例子.测试"),
        ('"a@b"@BÜCHER.example', '"a@b"@bücher.example'),
        ("bob@test.com", "bob@test.com"),
        ("bob@xn--a", "bob@xn--a"),
        ("bob@[192.0.2.1]", "bob@[192.0.2.1]"),
    ],
)
def test_people_see_their_own_script(text: str, shown: str) -> None:
    """A-labels are for machines; what is shown is read again."""
    address = parse_address(text, utf8=True)

    assert address.shown == shown
    assert parse_address(address.shown, utf8=True) == address


def test_case_does_not_make_another_mailbox() -> None:
    """No user expects BOB to be somebody else than bob."""
    assert parse_address("BOB@Test.com").key == parse_address("bob@test.com").key


def test_composed_and_decomposed_letters_are_one_mailbox() -> None:
    """Two keyboards write one letter in two ways."""
    composed = parse_address("\N{LATIN SMALL LETTER E WITH ACUTE}@test.com", utf8=True)
    decomposed = parse_address("e\N{COMBINING ACUTE ACCENT}@test.com", utf8=True)

    assert composed.key == decomposed.key


@given(st.text(alphabet=string.printable, min_size=0, max_size=30))
def test_what_we_print_we_read_back(local: str) -> None:
    """Any local part survives printing and reading."""
    try:
        address = parse_address(str(Address(local, "test.com")))
    except BadAddress:
        assert any(ord(character) < ord(" ") for character in local)
    else:
        assert address.local == local


@given(st.text(max_size=80))
def test_no_text_breaks_the_parser(text: str) -> None:
    """It answers or refuses, nothing else."""
    for utf8 in (False, True):
        try:
            address = parse_address(text, utf8=utf8)
        except BadAddress:
            continue
        assert parse_address(str(address), utf8=utf8) == address


def test_a_long_text_is_refused_quickly() -> None:
    """Stock Twisted takes time that grows with the square of the length."""
    began = time.process_time()
    with pytest.raises(BadAddress):
        parse_address("a." * 100_000 + "@test.com")
    with pytest.raises(BadAddress):
        parse_address('"' + "a\\" * 100_000)
    assert time.process_time() - began < 1
