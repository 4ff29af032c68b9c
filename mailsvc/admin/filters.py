"""Filters: rules about addresses, domains and networks."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

from mailsvc.admin.office import Office
from mailsvc.admin.rules import checked_page, checked_span, parsed_address, parsed_domain
from mailsvc.errors import CommandError
from mailsvc.model.account import Scope
from mailsvc.model.page import Page, page_of
from mailsvc.model.rule import Direction, NewRule, Rule, RuleKind, RuleTest
from mailsvc.policy.filters import RuleBook, denies
from mailsvc.store.rules import add_rule, all_rules, list_rules, remove_rule
from mailsvc.store.trail import Record

_BELOW = "*."
_LONGEST_NOTE = 255
_CLIENT_WAYS = (
    ("connect and send mail", Scope.SMTP, Direction.SEND),
    ("connect and fetch mail", Scope.POP3, Direction.RECEIVE),
)
_ADDRESS_WAYS = (
    ("send, or log in to send", Scope.SMTP, Direction.SEND),
    ("get mail", Scope.SMTP, Direction.RECEIVE),
    ("log in to fetch mail", Scope.POP3, Direction.RECEIVE),
)


class Filters:
    """
    Makes, lists, removes and tries rules; errors as in ``Administration``.

    Args:
        office: Where changes are made.
        renew: Puts changed rules in force: whoever hears of a rule may rely on it.
    """

    def __init__(self, office: Office, renew: Callable[[], Awaitable[None]]) -> None:
        self._office = office
        self._renew = renew

    async def add(self, new: NewRule, *, by: str) -> Rule:
        """
        Add a rule.

        Raises:
            AlreadyThere: The very same rule is there.
            CommandError: It makes no sense; the text says why.
        """
        checked_span(new.span)
        if new.service not in {"", *Scope}:
            raise CommandError(f"there is no service {new.service!r}: smtp, pop3 or web")
        if len(new.note) > _LONGEST_NOTE or not new.note.isprintable():
            raise CommandError(f"a note is one line of {_LONGEST_NOTE} characters at most")
        kind, subject = parsed_subject(new.subject)
        told = {"action": new.action.value, "subject": subject, "service": new.service}
        record = Record(by, "filter add", told)
        made = await self._office.change(record, add_rule, self._office.ids, new, kind, subject)
        await self._renew()
        return made

    async def list(self, after: str, most: int) -> Page[Rule]:
        """List rules, the oldest first, a page at a time."""
        if after and not (after.isascii() and after.isdigit()):
            raise CommandError(f"{after!r} is no place in a list; begin anew")
        most = checked_page(most)
        found = await self._office.database.run(list_rules, int(after or 0), most + 1)
        return page_of(found, most, lambda one: str(one.number))

    async def remove(self, number: int, *, by: str) -> None:
        """
        Remove a rule.

        Raises:
            NotFound: There is none with this number.
        """
        record = Record(by, "filter remove", {"rule": number})
        await self._office.change(record, remove_rule, number)
        await self._renew()

    async def test(self, address: str, ip: str) -> tuple[RuleTest, ...]:
        """
        Tell what the rules say to an address and a client.

        Args:
            address: As typed; empty: only the client is tried.
            ip: An IP address; empty: only the address is tried.
        """
        book, now = RuleBook(await self._office.database.run(all_rules)), datetime.now(UTC)
        tests: list[RuleTest] = []
        if ip:
            client = _parsed_ip(ip)
            for what, scope, way in _CLIENT_WAYS:
                found = book.about_client(client, scope.value, way, now)
                tests.append(_test(f"{client} may {what}", found))
        if address:
            whose = await self._office.address(address)
            for what, scope, way in _ADDRESS_WAYS:
                found = book.about_address(whose, scope.value, way, now)
                tests.append(_test(f"{whose} may {what}", found))
        return tuple(tests)


def _test(what: str, rule: Rule | None) -> RuleTest:
    if rule is None:
        return RuleTest(what, allowed=True)
    return RuleTest(what, not denies(rule), rule.number, rule.subject)


def _parsed_ip(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise CommandError(f"{text!r} is no IP address") from None


def parsed_subject(text: str) -> tuple[RuleKind, str]:
    """
    Read what a rule matches.

    Returns:
        Its kind, and how it is stored.

    Raises:
        CommandError: It is neither an address nor a domain nor a network.
    """
    if "@" in text:
        return RuleKind.ADDRESS, parsed_address(text).key
    try:
        network = ip_network(text)
    except ValueError as error:
        if "/" in text or text.replace(".", "").isdigit() or ":" in text:
            raise CommandError(f"{text!r} is no network: {error}") from None
        below = _BELOW if text.startswith(_BELOW) else ""
        return RuleKind.DOMAIN, below + parsed_domain(text.removeprefix(_BELOW))
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None:
        raise CommandError(f"write {mapped} instead: IPv4 clients are known as such")
    return RuleKind.NETWORK, str(network)
