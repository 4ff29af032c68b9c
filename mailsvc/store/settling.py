"""What became of attempts, and what senders are told of it: one transaction."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, select

from mailsvc.config.units import KIB, MIB
from mailsvc.errors import MailError
from mailsvc.interfaces import IContent
from mailsvc.model.address import Address, parse_address
from mailsvc.model.ids import IdSource, MessageId
from mailsvc.model.queued import Attempted, Queued, Settled, Telling
from mailsvc.model.route import Route
from mailsvc.store.deliveries import DeliverBatch
from mailsvc.store.delivery import NULL_PATH, Delivery, Target
from mailsvc.store.domains import domain_enabled, first_domain
from mailsvc.store.portable import PortableQuery, Recipe
from mailsvc.store.queue import settle
from mailsvc.store.routes import find_route
from mailsvc.store.tables import chunk, message

LARGEST_SHOWN = MIB
"""Octets of a message that a report gives back whole, when its sender has asked for it."""
_LARGEST_HEADER = 256 * KIB
_LIFETIME = timedelta(days=5)
"""How long a report is tried that leaves for another server."""

_Pairs = tuple[tuple[Queued, Settled], ...]


class SettleBatch(PortableQuery):
    """
    Settles many attempts at once; a ``BatchQuery``.

    The report for a sender is stored, or queued, in the same transaction: a crash loses
    neither it nor the message. A report that nobody can be given goes to the postmaster.

    Args:
        ids: Numbers for attempts, reports and the trail.
        deliver: Puts reports into mailboxes.
        write: Makes the content of a report; called on a writer's thread.
        restore: Finds the sender behind an address of ours that rewrites one; None: it is none.
        recipe: Makes the same in another process.
    """

    def __init__(
        self,
        ids: IdSource,
        deliver: DeliverBatch,
        write: Callable[[Telling], IContent],
        restore: Callable[[Address], Address | None],
        recipe: Recipe,
    ) -> None:
        self._ids = ids
        self._deliver = deliver
        self._write = write
        self._restore = restore
        self._recipe = recipe

    @property
    def recipe(self) -> Recipe:
        """Makes the same query in another process."""
        return self._recipe

    def parcel(self, item: Attempted) -> Attempted:
        """Give it as it is."""
        return item

    def __call__(self, conn: Connection, items: Sequence[Attempted]) -> Sequence[Exception | None]:
        """Write them; a row that is somebody else's by now is left alone."""
        flat = [(item.owner, row, one) for item in items for row, one in item.pairs]
        counted = settle(conn, self._ids, flat)
        reports: list[Delivery] = []
        for item in items:
            told = tuple(pair for pair in item.pairs if pair[1].report and pair[1].id in counted)
            if told:
                reports += self._reports(conn, told)
        for report in reports:
            # Each alone: one that does not fit takes no other's place.
            self._deliver(conn, [report])
        return [None] * len(items)

    def _reports(self, conn: Connection, pairs: _Pairs) -> list[Delivery]:
        """Make the report of one attempt; none, where it must not be or cannot get anywhere."""
        sender = pairs[0][0].sender
        to = parse_address(sender, utf8=True) if sender else _postmaster(conn)
        route = None if to is None else _route(conn, to)
        if to is not None and route is not None and not route.open:
            to = self._restore(to)
            route = None if to is None else _route(conn, to)
        if sender and (route is None or not route.open):
            to = _postmaster(conn)
            route = None if to is None else _route(conn, to)
        if route is not None and not sender:
            # It stays at home: a report about a report would go round for ever.
            route = Route(route.accounts)
        if to is None or route is None or not route.open:
            return []
        whole, start = _shown(conn, pairs)
        return [self._delivery(to, route, self._write(Telling(to, pairs, start, whole)))]

    def _delivery(self, to: Address, route: Route, content: IContent) -> Delivery:
        now = datetime.now(UTC)
        number = MessageId(self._ids.next())
        return Delivery(
            message=number,
            trace=NULL_PATH,
            return_path_octets=len(NULL_PATH),
            content=content,
            sender="",
            received=now,
            client_ip="",
            targets=tuple(
                Target(one.id, one.inbox, str(to), one.quota_octets, one.quota_messages)
                for one in route.accounts
            ),
            event="report",
            queued=tuple(self._queued(number, one, now) for one in route.remote),
        )

    def _queued(self, number: MessageId, to: Address, now: datetime) -> Queued:
        return Queued(
            id=self._ids.next(),
            message=number,
            sender="",
            recipient=str(to),
            domain=to.domain,
            attempts=0,
            expires=now + _LIFETIME,
            created=now,
            # A report about a report would go round for ever; RFC 3461 section 6.2.
            notify="NEVER",
        )


def _postmaster(conn: Connection) -> Address | None:
    home = first_domain(conn)
    return None if home is None else Address("postmaster", home)


def _route(conn: Connection, to: Address) -> Route:
    if domain_enabled(conn, to.domain) is None:
        return Route((), remote=(to,))
    try:
        return find_route(conn, to)
    except MailError:
        return Route(())


def _shown(conn: Connection, pairs: _Pairs) -> tuple[bool, bytes]:
    """Read what a report shows of its message: all of it, or its start."""
    row, one = pairs[0]
    found = conn.execute(
        select(message.c.octets, message.c.return_path_octets, message.c.body).where(
            message.c.id == row.message
        )
    ).first()
    if found is None:
        return False, b""
    # Only a failure gives the content back, RFC 3461 section 4.3, and never what must not
    # travel in clear, RFC 8689 section 5.
    full = row.returns == "FULL" and not row.require_tls
    whole = full and one.report == "failed" and found.octets <= LARGEST_SHOWN
    body = found.body
    if body is None:
        pieces = select(chunk.c.body).where(chunk.c.message_id == row.message)
        pieces = pieces.order_by(chunk.c.number)
        body = b"".join(conn.scalars(pieces if whole else pieces.limit(1)))
    body = body[found.return_path_octets :]
    return whole, body if whole else body[:_LARGEST_HEADER]
