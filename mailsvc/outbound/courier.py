"""Carry mail to other servers: what is due is taken, sent on shared connections and settled."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredSemaphore
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailsvc.background import Background
from mailsvc.config.settings import OutboundSettings
from mailsvc.config.units import KIB, MIB
from mailsvc.errors import MailError
from mailsvc.model.outgoing import Fate, Outcome
from mailsvc.model.queued import Attempted, Letter, Queued, QueueLease, Settled
from mailsvc.model.status import Status
from mailsvc.outbound.client import Broken, Transcript
from mailsvc.outbound.connection import Connected, Connector, Unreachable
from mailsvc.outbound.judging import Try, judge
from mailsvc.outbound.lanes import Lane, LaneState
from mailsvc.outbound.parcels import LetterReader, Parcel, make_parcels
from mailsvc.outbound.ways import Way, find_way
from mailsvc.policy.retry import retry_delay
from mailsvc.store.database import Database
from mailsvc.store.queue import claim, give_back, postpone, read_letters, renew
from mailsvc.store.settling import SettleBatch

LEASE = timedelta(minutes=2)
"""How long rows are ours without a renewal: a node that died keeps its mail back so long."""
MOST_IN_HAND = 1000
"""Rows that one node has at the same time."""
CLAIM = 250
"""Rows taken at once."""
LOW = 100
"""Rows in hand below which more are taken at once, and not with many at the next look."""
MOST_OCTETS = 64 * MIB
"""Octets of fresh messages that wait in memory to leave."""
MOST_OF_LANE = 500
"""Rows of one way in hand: one that is slow must not fill everything."""
MOST_FRESH, MOST_FRESH_OF_LANE = 4 * MOST_IN_HAND, 4 * MOST_OF_LANE
"""The same while fresh mail comes, which need not be read again."""
INLINE = 64 * KIB
"""Octets of a body that is read with others."""
LINGER = 1.0
"""Seconds that a connection waits for another message."""
_SETTLING = 600
"""Seconds for which we try to write down what became of an attempt."""
_BUG = Status(4, 3, 0)
_MOST_WAYS = 10_000
"""Domains whose way is kept in mind."""
_BREAKS = 3
"""Connections in a row that break before anything was sent: then the server is left alone."""


def _now() -> datetime:
    return datetime.now(UTC)


class Courier:
    """
    Takes rows by a lease, and brings each to an end or back into the queue.

    Mail that goes one way shares connections, and one back-off: a server that is away is
    asked by one connection at a time, and when it is back, by one first.

    Args:
        database: Where the queue is.
        connector: Opens connections.
        settle: Gives what writes down what became of attempts.
        settings: How mail leaves.
        clock: Tells how long connections wait.
        owner: Whose leases they are: another number for each daemon.
        now: Tells the time, aware UTC.
    """

    _log = Logger()

    def __init__(
        self,
        database: Database,
        connector: Connector,
        settle: Callable[[], SettleBatch],
        settings: OutboundSettings,
        clock: Any,
        owner: int,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._database = database
        self._connector = connector
        self._settle = settle
        self.settings = settings
        """How mail leaves; may be replaced."""
        self._clock = clock
        self._owner = owner
        self._now = now
        self._lanes: dict[str, Lane] = {}
        self._ways: dict[tuple[str, bool], Way] = {}
        """Of domains, and whether RFC 8689 holds; as long as the settings are the same."""
        self._reader = LetterReader(database)
        self._in_hand: dict[int, int] = {}
        """Rows, with the octets that leave our memory with them."""
        self._octets = 0
        """Of fresh messages in memory."""
        self._reserved = 0
        self._behind = True
        """Whether rows that are due may wait in the database: fresh ones must not overtake them."""
        self._renewed = now()
        self._total = DeferredSemaphore(settings.connections)
        self._connecting: set[Deferred[Connected]] = set()
        self.background = Background()
        """The connections."""
        self.running = False
        self.on_room: Callable[[], None] = lambda: None
        """Called when few rows are left in hand."""

    def use(self, settings: OutboundSettings) -> None:
        """Hold to other settings from the next connection on."""
        if settings.connections != self.settings.connections:
            self._total = DeferredSemaphore(settings.connections)
        self.settings = settings
        self._ways.clear()

    @property
    def hungry(self) -> bool:
        """Whether so few rows are in hand that taking more is worth a transaction now."""
        return len(self._in_hand) < LOW

    def closed(self) -> tuple[LaneState, ...]:
        """Tell which ways are left alone."""
        now = self._now()
        return tuple(
            LaneState(tuple(sorted(one.domains)), one.closed_until, one.trouble)
            for one in self._lanes.values()
            if one.closed_until is not None and one.is_closed(now)
        )

    def reopen(self, domains: Iterable[str] | None = None) -> None:
        """Ask servers that were left alone as soon as there is mail; None: all of them."""
        wanted = None if domains is None else set(domains)
        for lane in self._lanes.values():
            if wanted is None or lane.domains & wanted:
                lane.closed_until = None

    async def round(self) -> None:
        """
        Take what is due, until nothing is or there is no room.

        Raises:
            MailError: The database does not answer; the next round goes on.
        """
        await self._renew()
        while self.running and len(self._in_hand) < MOST_IN_HAND:
            full = [lane for lane in self._lanes.values() if lane.rows >= MOST_OF_LANE]
            busy = [name for lane in full for name in lane.domains]
            rows = await self._database.write(claim, self._owner, LEASE, CLAIM, busy)
            if rows:
                self._in_hand |= dict.fromkeys((row.id for row in rows), 0)
                await self._take(rows)
            self._behind = len(rows) == CLAIM
            if len(rows) < CLAIM:
                for lane in self._lanes.values():
                    lane.behind = lane in full
                break
        self._forget_lanes()

    async def stop(self, patience: float) -> None:
        """End behind what is under way, and give back what was not begun."""
        self.running = False
        for lane in self._lanes.values():
            lane.parcels.clear()
            self._ring(lane)
        for connecting in tuple(self._connecting):
            connecting.cancel()
        await self.background.drain_within(self._clock, patience)
        if self._in_hand:
            await self._database.write(give_back, self._owner, tuple(self._in_hand))
        self._in_hand.clear()
        self._octets = 0
        self._lanes.clear()

    # Fresh mail.

    def reserve(self, rows: Sequence[Queued], octets: int) -> QueueLease | None:
        """
        Make room for rows that are about to be stored, when they can leave at once.

        Args:
            octets: Of their message, which stays in memory until it has left.

        Returns:
            None: they wait in the database, behind those that were there before.
        """
        lanes = [self._lane(row) for row in rows]
        if len(self._in_hand) + self._reserved + len(rows) > MOST_FRESH:
            self._behind = True
        if self._octets + octets > MOST_OCTETS:
            self._behind = True
        for lane in lanes:
            lane.behind = lane.behind or lane.rows >= MOST_FRESH_OF_LANE
        if self._behind or not self.running or any(one.behind or one.closed_until for one in lanes):
            return None
        self._reserved += len(rows)
        self._octets += octets
        return QueueLease(self._owner, self._now() + LEASE)

    def take_fresh(self, rows: Sequence[Queued], letter: Letter) -> None:
        """Send rows that were stored with our lease."""
        self._reserved -= len(rows)
        self._in_hand |= dict.fromkeys((row.id for row in rows), 0)
        self._in_hand[rows[0].id] = letter.octets
        lanes: dict[str, list[Queued]] = {}
        for row in rows:
            lanes.setdefault(self._lane(row).way.name, []).append(row)
        letters: dict[int, Letter] = {rows[0].message: letter}
        for name, some in lanes.items():
            if self._lanes[name].is_closed(self._now()):
                waiting = self._let_wait(self._lanes[name], some, letters)
                self.background.start(waiting, "mail for a server that is away")
            else:
                self._hand_out(self._lanes[name], some, letters)

    async def _let_wait(
        self, lane: Lane, rows: list[Queued], letters: Mapping[int, Letter]
    ) -> None:
        """Put off what was stored while its server was given up."""
        self._hand_out(lane, await self._put_off(lane, rows), letters)

    def give_up(self, rows: Sequence[Queued], octets: int) -> None:
        """Give room back."""
        self._reserved -= len(rows)
        self._octets -= octets

    # Sorting.

    async def _renew(self) -> None:
        if self._in_hand and self._now() > self._renewed + LEASE / 4:
            self._renewed = self._now()
            await self._database.write(renew, self._owner, tuple(self._in_hand), LEASE)

    async def _take(self, rows: list[Queued]) -> None:
        """Sort rows into lanes; what goes nowhere now is put off without an attempt."""
        sorted_rows: dict[str, list[Queued]] = {}
        for row in rows:
            sorted_rows.setdefault(self._lane(row).way.name, []).append(row)
        try:
            for name in tuple(sorted_rows):
                sorted_rows[name] = await self._put_off(self._lanes[name], sorted_rows[name])
            numbers = {row.message for some in sorted_rows.values() for row in some}
            letters = await self._database.run(read_letters, tuple(numbers), INLINE)
        except BaseException:
            # They become due again when their lease has run out.
            for row in rows:
                self._in_hand.pop(row.id, None)
            raise
        for name, some in sorted_rows.items():
            self._hand_out(self._lanes[name], some, letters)

    def _hand_out(self, lane: Lane, rows: Sequence[Queued], letters: Mapping[int, Letter]) -> None:
        """Give a lane its parcels."""
        for parcel in make_parcels(rows, letters):
            lane.parcels.append(parcel)
            lane.rows += len(parcel.rows)
        self._staff(lane)

    def _lane(self, row: Queued) -> Lane:
        way = self._way(row.domain, row.require_tls)
        lane = self._lanes.get(way.name)
        if lane is None:
            lane = self._lanes[way.name] = Lane(way)
        lane.way = way
        lane.domains.add(row.domain)
        return lane

    def _way(self, domain: str, require_tls: bool) -> Way:  # noqa: FBT001 - a key
        known = self._ways.get((domain, require_tls))
        if known is None:
            if len(self._ways) >= _MOST_WAYS:
                self._ways.clear()
            known = find_way(domain, self.settings, require_tls=require_tls)
            self._ways[domain, require_tls] = known
        return known

    async def _put_off(self, lane: Lane, rows: list[Queued]) -> list[Queued]:
        """Let the rows of a closed lane wait, but for those whose time is over."""
        now, until = self._now(), lane.closed_until
        if until is None or until <= now:
            return rows
        late = [row for row in rows if row.expires <= now]
        numbers = tuple(row.id for row in rows if row.expires > now)
        if numbers:
            await self._database.write(postpone, self._owner, numbers, until)
        for number in numbers:
            self._octets -= self._in_hand.pop(number, 0)
        return late

    def _forget_lanes(self) -> None:
        """Drop lanes that have neither work nor trouble."""
        for name, lane in tuple(self._lanes.items()):
            if not (lane.rows or lane.connections or lane.closed_until):
                del self._lanes[name]

    # Connections.

    def _staff(self, lane: Lane) -> None:
        """See to it that somebody works: one, until that one has sent something."""
        self._ring(lane)
        if lane.parcels and not lane.connections:
            self._hire(lane)

    def _hire(self, lane: Lane) -> None:
        lane.connections += 1
        self.background.start(self._work(lane), f"mail for {lane.way.name}")

    def _ring(self, lane: Lane) -> None:
        waiting, lane.waiting = lane.waiting, []
        for one in waiting:
            one.callback(None)

    async def _work(self, lane: Lane) -> None:
        """Send parcels on one connection after the other."""
        total = self._total
        await total.acquire()
        try:
            while self.running and lane.parcels:
                try:
                    connected = await self._connect(lane)
                except Unreachable as error:
                    if lane.connections > 1:
                        # It bears no more than those that are at work.
                        lane.most = lane.connections - 1
                    else:
                        await self._close(lane, error)
                    return
                await self._use(lane, connected)
        finally:
            lane.connections -= 1
            total.release()
            if self.running and lane.parcels and not lane.is_closed(self._now()):
                self._staff(lane)

    async def _connect(self, lane: Lane) -> Connected:
        connecting = Deferred.fromCoroutine(self._connector.connect(lane.way, self.settings))
        self._connecting.add(connecting)
        try:
            return await connecting
        except (Unreachable, CancelledError):
            raise
        except Exception as error:
            # Our own bug: the server is left alone as any other, or it would be asked without end.
            self._log.failure("no connection for mail for {way}", way=lane.way.name)
            raise Unreachable("this service has failed; its log tells why", _BUG) from error
        finally:
            self._connecting.discard(connecting)

    async def _use(self, lane: Lane, connected: Connected) -> None:
        """Send until there is nothing more, or the connection has had enough."""
        talk, sent = connected.conversation, 0
        try:
            while talk.usable and sent < self.settings.connection_messages:
                if not lane.parcels:
                    await self._linger(lane)
                if not (self.running and lane.parcels):
                    break
                parcel = lane.parcels.popleft()
                if not await self._send(lane, connected, parcel, used=sent > 0):
                    break
                sent += 1
                lane.failures, lane.closed_until = 0, None
                most = min(self.settings.host_connections, lane.most or MOST_IN_HAND)
                if len(lane.parcels) > lane.connections < most:
                    self._hire(lane)
        finally:
            if talk.usable:
                self.background.start(talk.quit(), "the end of a connection")

    async def _linger(self, lane: Lane) -> None:
        """Wait for another parcel."""
        ring: Deferred[None] = Deferred()
        lane.waiting.append(ring)
        late = self._clock.callLater(LINGER, self._stop_waiting, lane, ring)
        try:
            await ring
        finally:
            if late.active():
                late.cancel()

    def _stop_waiting(self, lane: Lane, ring: "Deferred[None]") -> None:
        if ring in lane.waiting:
            lane.waiting.remove(ring)
            ring.callback(None)

    async def _send(self, lane: Lane, connected: Connected, parcel: Parcel, *, used: bool) -> bool:
        """Send one parcel and settle it; False: the connection has broken."""
        talk, started = connected.conversation, self._now()
        talk.transcript = Transcript()
        try:
            mail = await self._reader.describe(parcel)
            fates = await talk.send(mail, lambda: self._reader.pieces(parcel))
        except Broken as error:
            if used:
                # It may have closed a connection that it found long enough: no attempt. This ends,
                # for each such connection has sent something.
                lane.parcels.appendleft(parcel)
                return False
            await self._broken(lane, connected, parcel, error, started)
            return False
        except MailError:
            # Our own storage does not answer: the rows become due again with their lease.
            talk.abort()
            self._let_go(lane, parcel.rows)
            raise
        except Exception:  # noqa: BLE001 - a mistake of ours must not keep mail back
            self._log.failure("a message could not be sent")
            talk.abort()
            fault = Broken("a fault of ours", Status(4, 3, 0))
            await self._broken(lane, connected, parcel, fault, started)
            return False
        said = str(talk.transcript)
        pairs = tuple(
            (row, self._settled(row, fate, started, connected, said))
            for row, fate in zip(parcel.rows, fates, strict=True)
        )
        await self._finish(lane, pairs)
        return True

    async def _broken(
        self, lane: Lane, connected: Connected, parcel: Parcel, error: Broken, started: datetime
    ) -> None:
        """Settle a parcel whose connection broke before its end."""
        lane.failures += 1
        outcome = Outcome.BOUNCE if error.status.permanent else Outcome.LATER
        fate = Fate(outcome, error.status, str(error))
        said = str(connected.conversation.transcript)
        pairs = tuple(
            (row, self._settled(row, fate, started, connected, said)) for row in parcel.rows
        )
        await self._finish(lane, pairs)
        if lane.failures >= _BREAKS:
            await self._close(lane, Unreachable(str(error), error.status, connected.host, said))

    async def _close(self, lane: Lane, error: Unreachable) -> None:
        """Leave a server alone for a while; all its mail in hand shares this attempt."""
        started, permanent = self._now(), error.status.permanent
        if not permanent:
            lane.failures += 1
            lane.closed_until = started + retry_delay(lane.failures, self.settings)
        lane.trouble = str(error)
        self._log.info("mail for {way} waits: {error}", way=lane.way.name, error=str(error))
        fate = Fate(Outcome.BOUNCE if permanent else Outcome.LATER, error.status, str(error))
        # Those that come meanwhile share it, too: nobody else works on this lane.
        while lane.parcels:
            parcels, lane.parcels = lane.parcels, deque()
            settling = [
                Deferred.fromCoroutine(self._share(lane, parcel, fate, started, error))
                for parcel in parcels
            ]
            for _, fault in await DeferredList(settling, consumeErrors=True):
                if isinstance(fault, Failure):
                    fault.raiseException()

    async def _share(
        self, lane: Lane, parcel: Parcel, fate: Fate, started: datetime, error: Unreachable
    ) -> None:
        """Settle a parcel by the attempt of another one."""
        attempt = Try(started, error.host, error.conversation)
        pairs = tuple(
            (row, judge(row, fate, attempt, self._now(), self.settings, lane.closed_until))
            for row in parcel.rows
        )
        await self._finish(lane, pairs)

    # What became of it.

    def _settled(
        self, row: Queued, fate: Fate, started: datetime, connected: Connected, said: str
    ) -> Settled:
        attempt = Try(started, connected.host, said, connected.cipher)
        return judge(row, fate, attempt, self._now(), self.settings)

    async def _finish(self, lane: Lane, pairs: tuple[tuple[Queued, Settled], ...]) -> None:
        """Write it down, as soon as the database takes it: what was sent must not go again."""
        done = Attempted(self._owner, pairs)
        try:
            for left in range(_SETTLING, -1, -1):
                try:
                    await self._database.write_batch(
                        self._settle(), done, shard=pairs[0][0].message
                    )
                    break
                except MailError as error:
                    self._log.warn("an attempt is not written down: {error}", error=str(error))
                    if not (left and self.running):
                        raise
                await deferLater(self._clock, 1.0)
        finally:
            self._let_go(lane, [row for row, _ in pairs])
        for row, one in pairs:
            self._log.info(
                "{outcome} {id}: <{recipient}> by {host}: {text}",
                outcome=one.outcome.value,
                id=f"{row.message:016x}",
                recipient=row.recipient,
                host=one.host or "nobody",
                text=one.text,
            )

    def _let_go(self, lane: Lane, rows: Iterable[Queued]) -> None:
        had_enough = not self.hungry
        for row in rows:
            self._octets -= self._in_hand.pop(row.id, 0)
            lane.rows -= 1
        if self.running and had_enough and self.hungry:
            self.on_room()
