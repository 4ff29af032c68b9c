"""Keys that sign mail, and the DNS of our domains."""

import re
from datetime import UTC, datetime

from mailsvc.admin.office import Office
from mailsvc.admin.rules import parsed_domain
from mailsvc.delivery.dkim import make_key, public_record
from mailsvc.errors import CommandError, NotFound
from mailsvc.model.dkim import DkimKey, DnsRecord, NewDkimKey, SigningKey
from mailsvc.store.dkim import KeptKey, add_key, list_keys, remove_key, switch_key
from mailsvc.store.domain_changes import get_domain
from mailsvc.store.trail import Record

_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9-]{1,30})*")
_LONGEST = 63


class Dkim:
    """
    Makes, lists, switches and removes keys; errors as in ``Administration``.

    Args:
        office: Where changes are made.
        hostname: Our name, for MX.
    """

    def __init__(self, office: Office, hostname: str) -> None:
        self._office = office
        self.hostname = hostname
        """Our name; may be replaced."""

    async def add(self, asked: NewDkimKey, *, by: str) -> DkimKey:
        """
        Make a key.

        Raises:
            NotFound: The domain is not ours.
            AlreadyThere: It has one with this selector.
        """
        domain, run = parsed_domain(asked.domain), self._office.database.run
        await run(get_domain, domain)
        selector = asked.selector.lower() or f"{asked.algorithm[0]}{datetime.now(UTC):%Y%m%d}"
        if len(selector) > _LONGEST or not _SELECTOR.fullmatch(selector):
            raise CommandError(f"{selector!r} is no selector: letters, digits and hyphens")
        private = await run(lambda _: make_key(asked.algorithm))
        key = SigningKey(domain, selector, asked.algorithm, private)
        record = Record(by, "dkim add", {"domain": domain, "selector": selector})
        office = self._office
        await office.change(record, add_key, office.ids, key, active=asked.active)
        return _shown((key, asked.active, datetime.now(UTC)))

    async def list(self, domain: str = "") -> tuple[DkimKey, ...]:
        """List the keys of one domain, or of all."""
        name = parsed_domain(domain) if domain else ""
        return tuple(_shown(one) for one in await self._office.database.run(list_keys, name))

    async def switch(self, domain: str, selector: str, *, active: bool, by: str) -> None:
        """
        Let a key sign, or not.

        Raises:
            NotFound: There is none.
        """
        name, did = parsed_domain(domain), f"dkim {'enable' if active else 'disable'}"
        record = Record(by, did, {"domain": name, "selector": selector})
        await self._office.change(record, switch_key, name, selector.lower(), active=active)

    async def remove(self, domain: str, selector: str, *, by: str) -> None:
        """
        Remove a key.

        Raises:
            NotFound: There is none.
        """
        name = parsed_domain(domain)
        record = Record(by, "dkim remove", {"domain": name, "selector": selector})
        await self._office.change(record, remove_key, name, selector.lower())

    async def records(self, domain: str) -> tuple[DnsRecord, ...]:
        """
        Tell what a domain publishes in DNS.

        Raises:
            NotFound: It is not ours.
        """
        name = parsed_domain(domain)
        await self._office.database.run(get_domain, name)
        keys = await self.list(name)
        if not keys:
            hint = f"mailctl dkim add {name}"
            raise NotFound(f"{name} has no key to publish yet; make one first: {hint}")
        return (*_records(name, self.hostname), *(_key_record(one) for one in keys))


def _records(name: str, host: str) -> tuple[DnsRecord, ...]:
    def one(label: str, kind: str, value: str, why: str) -> DnsRecord:
        return DnsRecord(name=f"{label}{name}.", kind=kind, value=value, why=why)

    rule = f"v=DMARC1; p=none; rua=mailto:postmaster@{name}"
    return (
        one("", "MX", f"10 {host}.", "mail for the domain comes here (RFC 5321)"),
        one("", "TXT", "v=spf1 mx ~all", "its mail leaves from here (RFC 7208)"),
        one("_dmarc.", "TXT", rule, "what becomes of mail that others forge (RFC 7489)"),
        one("_submissions._tcp.", "SRV", f"0 1 465 {host}.", "mail programs send here (RFC 8314)"),
        one("_submission._tcp.", "SRV", f"10 1 587 {host}.", "or here, with STARTTLS (RFC 6186)"),
        one("_pop3s._tcp.", "SRV", f"0 1 995 {host}.", "and collect here (RFC 8314)"),
    )


def _key_record(key: DkimKey) -> DnsRecord:
    return DnsRecord(
        name=f"{key.selector}._domainkey.{key.domain}.",
        kind="TXT",
        value=key.record,
        why="checks our signatures (RFC 6376)",
    )


def _shown(kept: KeptKey) -> DkimKey:
    key, active, created = kept
    return DkimKey(
        domain=key.domain,
        selector=key.selector,
        algorithm=key.algorithm,
        active=active,
        created=created,
        record=public_record(key),
    )
