"""The most specific rule decides, in whatever order rules were made."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.model.address import parse_address
from mailsvc.model.rule import Action, Direction, Rule, RuleKind
from mailsvc.policy.filters import RuleBook, denies

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
NETWORKS = [
    "0.0.0.0/0",
    "192.0.2.0/24",
    "192.0.2.128/25",
    "192.0.2.200/32",
    "::/0",
    "2001:db8::/32",
    "2001:db8::1/128",
]
CLIENTS = ["192.0.2.1", "192.0.2.200", "198.51.100.1", "2001:db8::1", "2001:db8::2", "fe80::1"]
NAMES = ["a@b.example.org", "c@b.example.org", "b.example.org", "*.example.org", "*.org"]
ADDRESSES = ["a@b.example.org", "c@b.example.org", "d@b.example.org", "x@example.org", "x@test.com"]
SERVICES, WAYS = ["", "smtp", "pop3"], list(Direction)


def rule(number: int, subject: str, action: Action = Action.DENY, **more: object) -> Rule:
    """Make one."""
    if "@" in subject:
        kind = RuleKind.ADDRESS
    else:
        kind = RuleKind.NETWORK if "/" in subject else RuleKind.DOMAIN
    values = {"service": "", "direction": Direction.BOTH, "note": "", "created": NOW, **more}
    return Rule(number, kind, subject, action, **values)  # type: ignore[arg-type]  # as above


def rules_about(subjects: list[str]) -> st.SearchStrategy[list[Rule]]:
    """Make some about these."""
    one = st.builds(
        rule,
        st.integers(1, 10**9),
        st.sampled_from(subjects),
        st.sampled_from(Action),
        service=st.sampled_from(SERVICES),
        direction=st.sampled_from(WAYS),
        expires=st.sampled_from([None, NOW, NOW + timedelta(seconds=1)]),
    )
    return st.lists(one, max_size=12, unique_by=lambda one: one.number)


def _counts(one: Rule, service: str, way: Direction) -> bool:
    return (
        (not one.service or one.service == service)
        and (one.direction is Direction.BOTH or one.direction is way)
        and (one.expires is None or one.expires > NOW)
    )


def _obvious(matching: list[tuple[int, Rule]]) -> Rule | None:
    """Sort all that match by how specific they are."""
    ranked = sorted(
        matching,
        key=lambda found: (
            -found[0],
            found[1].service == "",
            found[1].direction is Direction.BOTH,
            found[1].action is Action.ALLOW,
            found[1].number,
        ),
    )
    return ranked[0][1] if ranked else None


@given(
    rules_about(NETWORKS),
    st.sampled_from(CLIENTS),
    st.sampled_from(["smtp", "pop3"]),
    st.sampled_from([Direction.SEND, Direction.RECEIVE]),
    st.randoms(use_true_random=False),
)
def test_clients(rules: list[Rule], ip: str, service: str, way: Direction, random: object) -> None:
    """As the obvious way finds it."""
    matching = [
        (network.prefixlen, one)
        for one in rules
        if ip_address(ip) in (network := ip_network(one.subject)) and _counts(one, service, way)
    ]
    random.shuffle(rules)  # type: ignore[attr-defined]  # a Random

    assert RuleBook(rules).about_client(ip, service, way, NOW) == _obvious(matching)


def _nearness(subject: str, address: str) -> int:
    """Tell how specific a name is for an address; 0: it does not match."""
    domain = address.partition("@")[2]
    if subject == address:
        return 100
    if subject == domain:
        return 99
    if subject.startswith("*.") and domain.endswith(subject[1:]):
        return len(subject.split("."))
    return 0


@given(
    rules_about(NAMES),
    st.sampled_from(ADDRESSES),
    st.sampled_from(["smtp", "pop3"]),
    st.sampled_from([Direction.SEND, Direction.RECEIVE]),
    st.randoms(use_true_random=False),
)
def test_addresses(
    rules: list[Rule], address: str, service: str, way: Direction, random: object
) -> None:
    """As the obvious way finds it."""
    matching = [
        (near, one)
        for one in rules
        if (near := _nearness(one.subject, address)) and _counts(one, service, way)
    ]
    random.shuffle(rules)  # type: ignore[attr-defined]  # a Random
    book = RuleBook(rules)

    assert book.about_address(parse_address(address), service, way, NOW) == _obvious(matching)


@pytest.mark.parametrize(
    ("subjects", "ip", "denied"),
    [
        ([("10.0.0.0/8", Action.DENY), ("10.1.0.0/16", Action.ALLOW)], "10.1.2.3", False),
        ([("10.0.0.0/8", Action.DENY), ("10.1.0.0/16", Action.ALLOW)], "10.2.2.3", True),
        ([("10.0.0.0/8", Action.ALLOW), ("10.0.0.0/8", Action.DENY)], "10.2.2.3", True),
        ([("10.0.0.0/8", Action.DENY)], "::ffff:10.2.2.3", True),
        ([("10.0.0.0/8", Action.DENY)], "no address", False),
        ([("::/0", Action.DENY)], "10.2.2.3", False),
    ],
)
def test_examples(subjects: list[tuple[str, Action]], ip: str, *, denied: bool) -> None:
    """Those of the manual."""
    book = RuleBook(rule(number, name, action) for number, (name, action) in enumerate(subjects))

    assert denies(book.about_client(ip, "smtp", Direction.SEND, NOW)) is denied
