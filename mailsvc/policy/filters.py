"""
Which rule decides: the most specific one.

A client is judged by its network when it connects, an address when it is named: at a login,
as sender or as recipient. A longer prefix goes before a shorter one; an address before its
domain, and that before the domains above. Of two equals, the one that names the service
goes first, then the one that names the direction, then the one that denies, then the older.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from ipaddress import ip_address, ip_network

from mailsvc.model.address import Address
from mailsvc.model.rule import Action, Direction, Rule, RuleKind

_Networks = dict[tuple[int, int], dict[int, list[Rule]]]
_MAPPED = "::ffff:"


class RuleBook:
    """
    All rules, found quickly.

    Args:
        rules: In any order.
    """

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._names: dict[str, list[Rule]] = defaultdict(list)
        self._networks: _Networks = {}
        for rule in rules:
            if rule.kind is RuleKind.NETWORK:
                network = ip_network(rule.subject)
                same = self._networks.setdefault((network.version, network.prefixlen), {})
                same.setdefault(int(network.network_address), []).append(rule)
            else:
                self._names[rule.subject].append(rule)
        self._lengths = sorted(self._networks, reverse=True)

    def about_client(
        self, ip: str, service: str, direction: Direction, now: datetime
    ) -> Rule | None:
        """Find the rule that decides on a client; None: there is none, so it may."""
        if not self._networks:
            return None
        return _first(self._behind_client(ip), service, direction, now)

    def about_address(
        self, address: Address, service: str, direction: Direction, now: datetime
    ) -> Rule | None:
        """Find the rule that decides on an address; None: there is none, so it may."""
        if not self._names:
            return None
        return _first(self._behind_address(address), service, direction, now)

    def _behind_client(self, ip: str) -> Iterator[list[Rule]]:
        """Give the rules for a client, the most specific network first."""
        try:
            address = ip_address(ip.removeprefix(_MAPPED) if "." in ip else ip)
        except ValueError:
            return
        for version, prefix in self._lengths:
            if version == address.version:
                rest = address.max_prefixlen - prefix
                found = self._networks[version, prefix].get(int(address) >> rest << rest)
                if found is not None:
                    yield found

    def _behind_address(self, address: Address) -> Iterator[list[Rule]]:
        """Give the rules for an address, the most specific name first."""
        names = [address.key, address.domain]
        above = address.domain
        while above:
            above = above.partition(".")[2]
            names.append(f"*.{above}")
        for name in names:
            if name in self._names:
                yield self._names[name]


def denies(rule: Rule | None) -> bool:
    """Tell whether the rule that decides keeps somebody out."""
    return rule is not None and rule.action is Action.DENY


def _first(
    levels: Iterator[list[Rule]], service: str, direction: Direction, now: datetime
) -> Rule | None:
    for rules in levels:
        meant = [one for one in rules if _is_meant(one, service, direction, now)]
        if meant:
            return min(meant, key=_rank)
    return None


def _is_meant(rule: Rule, service: str, direction: Direction, now: datetime) -> bool:
    return (
        rule.service in {"", service}
        and rule.direction in {Direction.BOTH, direction}
        and (rule.expires is None or now < rule.expires)
    )


def _rank(rule: Rule) -> tuple[bool, bool, bool, int]:
    return (
        not rule.service,
        rule.direction is Direction.BOTH,
        rule.action is Action.ALLOW,
        rule.number,
    )
