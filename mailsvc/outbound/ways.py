"""Which way the mail for a domain goes: a fixed one, or by DNS."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import NamedTuple

from mailsvc.config.settings import OutboundSettings, RouteSettings, TlsPolicy
from mailsvc.outbound.hops import Hop, Resolver, find_address, find_hops


class Way(NamedTuple):
    """
    How mail gets to a domain, before anybody has asked DNS.

    Args:
        name: Mail with the same name can share a connection.
        domain: Asked about in DNS; empty: the way is fixed.
        tls: How much TLS there must be.
        route: The fixed way; None: there is none.
        require_tls: Only servers that promise to keep to TLS will do; RFC 8689.
    """

    name: str
    domain: str
    tls: TlsPolicy
    route: RouteSettings | None = None
    require_tls: bool = False

    @property
    def login(self) -> tuple[str, str] | None:
        """User and password; None: no login."""
        route = self.route
        if route is None or route.user is None:
            return None
        return route.user, route.password or ""


def find_way(domain: str, settings: OutboundSettings, *, require_tls: bool = False) -> Way:
    """
    Choose the way of a domain: its own, that of the nearest domain above, or that of all.

    Args:
        domain: A-labels, or an address literal.
        require_tls: RFC 8689.
    """
    found = _route(domain, settings.routes)
    mark = "!" if require_tls else ""
    if found is None:
        tls = TlsPolicy.VERIFIED if require_tls else settings.tls
        return Way(f"{domain}{mark}", domain, tls, require_tls=require_tls)
    name, route = found
    tls = TlsPolicy.VERIFIED if require_tls else route.tls or settings.tls
    return Way(f"route {name}{mark}", "", tls, route, require_tls)


async def find_servers(resolver: Resolver, way: Way) -> tuple[Hop, ...]:
    """
    Find the servers of a way, in the order in which they are tried.

    Raises:
        NoHop: There is none, for ever or for now.
    """
    if way.route is None:
        return await find_hops(resolver, way.domain)
    host, port = way.route.host, way.route.port
    try:
        return (Hop(host, (str(ip_address(host)),), port),)
    except ValueError:
        pass
    if host == "localhost":
        return (Hop(host, ("127.0.0.1", "::1"), port),)
    found = await find_address(resolver, host)
    return (found._replace(port=port),)


def _route(domain: str, routes: Mapping[str, RouteSettings]) -> tuple[str, RouteSettings] | None:
    known = {one: (name, route) for name, route in routes.items() for one in route.domains}
    _, *above = domain.split(".")
    names = [domain, *(f".{'.'.join(above[start:])}" for start in range(len(above))), "*"]
    if domain.startswith("["):
        names = [domain, "*"]
    return next((known[name] for name in names if name in known), None)
