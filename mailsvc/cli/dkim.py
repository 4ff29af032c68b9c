"""``mailctl dkim`` and ``mailctl dns``: keys that sign mail, and what a domain publishes."""

from typing import TYPE_CHECKING, Any

import click

from mailsvc.cli.output import Column, clean, moment, show_json, show_table
from mailsvc.cli.place import Place, as_json, examples, pass_place

if TYPE_CHECKING:  # see place.py
    from mailsvc.model.dkim import DkimKey, DnsRecord

_COLUMNS = (
    Column("Domain"),
    Column("Selector"),
    Column("Algorithm"),
    Column("Signs"),
    Column("Made"),
)
_LONGEST_TEXT = 255
"""Octets of one string of a TXT record; RFC 1035 section 3.3."""


@click.group()
def dkim() -> None:
    """
    Sign the mail of a domain, so that other servers can see that it is from here.

    Each key has a selector, its name in DNS. A message is signed with every key that signs.
    """


@dkim.command(
    epilog=examples(
        "mailctl dkim add test.com",
        "mailctl dkim add test.com --algorithm rsa --selector mail2027 --disabled",
    )
)
@click.argument("domain")
@click.option(
    "--algorithm",
    type=click.Choice(["rsa", "ed25519"]),
    help="Only this one: RSA of 2048 bits, which everybody reads, or Ed25519; else both.",
)
@click.option("--selector", default="", help="Its name in DNS; else one with the date.")
@click.option("--disabled", is_flag=True, help="It signs only after: mailctl dkim enable.")
@as_json
@pass_place
def add(place: Place, /, domain: str, *, as_json: bool, **given: Any) -> None:
    """Make keys for a DOMAIN, and show what to publish."""
    from mailsvc.model.dkim import Algorithm, NewDkimKey

    algorithms = [Algorithm(given["algorithm"])] if given["algorithm"] else list(Algorithm)
    if given["selector"] and len(algorithms) > 1:
        raise click.UsageError("two keys cannot have one selector: choose an --algorithm, too")
    made = [
        place.talk(
            lambda client, one=one: client.dkim.add(  # type: ignore[misc]  # bound now
                NewDkimKey(
                    domain=domain,
                    algorithm=one,
                    selector=given["selector"],
                    active=not given["disabled"],
                )
            )
        )
        for one in algorithms
    ]
    if as_json:
        show_json([_json(one) for one in made])
        return
    for one in made:
        click.echo(clean(f"Made the key {one.selector} of {one.domain}. Publish in DNS:"))
        click.echo(f"  {one.selector}._domainkey.{one.domain}. TXT {_quoted(one.record)}")


@dkim.command("list", epilog=examples("mailctl dkim list", "mailctl dkim list test.com --json"))
@click.argument("domain", default="")
@as_json
@pass_place
def list_(place: Place, domain: str, *, as_json: bool) -> None:
    """List the keys of a DOMAIN, or all."""
    found = place.talk(lambda client: client.dkim.list(domain))
    if as_json:
        show_json([_json(one) for one in found])
    elif found:
        show_table(_COLUMNS, [_row(one) for one in found])
    else:
        click.echo("There are no keys.")


def _switch(name: str, what: str, *, active: bool) -> None:
    @dkim.command(name, help=what, epilog=examples(f"mailctl dkim {name} test.com r20261124"))
    @click.argument("domain")
    @click.argument("selector")
    @as_json
    @pass_place
    def command(place: Place, domain: str, selector: str, *, as_json: bool) -> None:
        place.talk(lambda client: client.dkim.switch(domain, selector, active=active))
        if as_json:
            show_json({"domain": domain, "selector": selector, "active": active})
        else:
            click.echo(clean(f"The key {selector} {'signs' if active else 'does not sign'} now."))


_switch("enable", "Let the key of a DOMAIN with a SELECTOR sign.", active=True)
_switch("disable", "Let the key of a DOMAIN with a SELECTOR sign no more.", active=False)


@dkim.command(epilog=examples("mailctl dkim remove test.com r20261124"))
@click.argument("domain")
@click.argument("selector")
@as_json
@pass_place
def remove(place: Place, domain: str, selector: str, *, as_json: bool) -> None:
    """Remove the key of a DOMAIN with a SELECTOR; leave its DNS for the mail on the way."""
    place.talk(lambda client: client.dkim.remove(domain, selector))
    if as_json:
        show_json({"domain": domain, "selector": selector, "removed": True})
    else:
        click.echo(clean(f"Removed the key {selector} of {domain}."))


@click.command(epilog=examples("mailctl dns test.com", "mailctl dns test.com >> test.com.zone"))
@click.argument("domain")
@as_json
@pass_place
def dns(place: Place, domain: str, *, as_json: bool) -> None:
    """Print what a DOMAIN publishes in DNS, as lines of a zone file."""
    found = place.talk(lambda client: client.dkim.records(domain))
    if as_json:
        show_json(
            [
                {"name": one.name, "type": one.kind, "value": one.value, "why": one.why}
                for one in found
            ]
        )
        return
    for one in found:
        click.echo(clean(f"; {one.why}"))
        click.echo(clean(_line(one)))


def _line(one: "DnsRecord") -> str:
    value = _quoted(one.value) if one.kind == "TXT" else one.value
    return f"{one.name} IN {one.kind} {value}"


def _quoted(text: str) -> str:
    parts = [text[at : at + _LONGEST_TEXT] for at in range(0, len(text), _LONGEST_TEXT)]
    return " ".join(f'"{part}"' for part in parts)


def _row(one: "DkimKey") -> list[str]:
    signs = "yes" if one.active else "no"
    return [one.domain, one.selector, one.algorithm.value, signs, moment(one.created)]


def _json(one: "DkimKey") -> dict[str, Any]:
    return {
        "domain": one.domain,
        "selector": one.selector,
        "algorithm": one.algorithm.value,
        "active": one.active,
        "created": one.created.isoformat(),
        "record": one.record,
    }
