"""What accounts send to other servers in a day, and to whom they have written before."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, insert, select, update

from mailsvc.errors import SendingLimitReached
from mailsvc.model.address import parse_address
from mailsvc.model.ids import AccountId
from mailsvc.model.queued import Queued
from mailsvc.model.sending import LimitKind, SendingLimits
from mailsvc.store.tables import account, correspondent, sending

_SECONDS = 86_400
_NO_LIMIT = 0
_KEYS = 500


class Sent(NamedTuple):
    """A message that leaves for a user: who sends it, to whom, and what the house allows."""

    account: AccountId
    rows: tuple[Queued, ...]
    limits: SendingLimits


class Reached(NamedTuple):
    """A limit that somebody has reached, and nobody has been told."""

    account: AccountId
    kind: LimitKind
    most: int


@dataclass(slots=True)
class _Day:
    """What one account has sent today."""

    limits: SendingLimits
    there: bool
    messages: int
    new_recipients: int
    told: bool
    known: set[str]
    new: list[str] = field(default_factory=list)
    changed: bool = False
    reached: Reached | None = None


class SendingBook:
    """
    Counts what leaves, in the transaction that accepts it; on all nodes together.

    Args:
        conn: The transaction.
        sent: Everything that it may accept.
    """

    def __init__(self, conn: Connection, sent: Sequence[Sent]) -> None:
        self._conn = conn
        self._day = int(datetime.now(UTC).timestamp()) // _SECONDS
        self._days: dict[AccountId, _Day] = {}
        if sent:
            self._open(sent)

    def check(self, sent: Sent) -> SendingLimitReached | None:
        """Tell why a message may not leave today; None: it may."""
        day = self._days.get(sent.account)
        if day is None:
            return None
        most, new = day.limits.messages, len(_new(day, sent.rows))
        if most is not None and day.messages + 1 > most:
            return self._refuse(sent.account, day, LimitKind.MESSAGES, most)
        most = day.limits.new_recipients
        if most is not None and new and day.new_recipients + new > most:
            return self._refuse(sent.account, day, LimitKind.NEW_RECIPIENTS, most)
        return None

    def add(self, sent: Sent) -> None:
        """Count a message that was accepted."""
        day = self._days.get(sent.account)
        if day is not None:
            new = _new(day, sent.rows)
            day.messages += 1
            day.new_recipients += len(new)
            day.new += new
            day.known |= set(new)
            day.changed = True

    def write(self) -> list[Reached]:
        """Write it down; gives whom to tell of."""
        told: list[Reached] = []
        for number, day in self._days.items():
            if day.reached is not None and not day.told:
                told.append(day.reached)
                day.told = day.changed = True
            if day.changed:
                self._write(number, day)
        return told

    def _refuse(
        self, number: AccountId, day: _Day, kind: LimitKind, most: int
    ) -> SendingLimitReached:
        day.reached = Reached(number, kind, most)
        return SendingLimitReached()

    def _open(self, sent: Sequence[Sent]) -> None:
        """Read the accounts, locked: two writers must not both take the last place."""
        numbers = sorted({one.account for one in sent})
        houses = {one.account: one.limits for one in sent}
        own = self._conn.execute(
            select(account.c.id, account.c.daily_messages, account.c.daily_recipients)
            .where(account.c.id.in_(numbers))
            .order_by(account.c.id)
            .with_for_update()
        ).all()
        rows = self._conn.execute(
            select(sending).where(sending.c.account_id.in_(numbers), sending.c.day == self._day)
        )
        counted = {row.account_id: row for row in rows}
        for number, messages, recipients in own:
            house, row = houses[number], counted.get(number)
            self._days[number] = _Day(
                limits=SendingLimits(
                    _effective(messages, house.messages),
                    _effective(recipients, house.new_recipients),
                ),
                there=row is not None,
                messages=0 if row is None else row.messages,
                new_recipients=0 if row is None else row.new_recipients,
                told=row is not None and row.told,
                known=self._known(number, (one for one in sent if one.account == number)),
            )

    def _known(self, number: AccountId, sent: Iterable[Sent]) -> set[str]:
        """Read which recipients the account has written to before."""
        keys = sorted({_key(row) for one in sent for row in one.rows})
        found: set[str] = set()
        for start in range(0, len(keys), _KEYS):
            wanted = select(correspondent.c.address_key).where(
                correspondent.c.account_id == number,
                correspondent.c.address_key.in_(keys[start : start + _KEYS]),
            )
            found |= set(self._conn.scalars(wanted))
        return found

    def _write(self, number: AccountId, day: _Day) -> None:
        values = {
            "messages": day.messages,
            "new_recipients": day.new_recipients,
            "told": day.told,
        }
        which = (sending.c.account_id == number, sending.c.day == self._day)
        if day.there:
            self._conn.execute(update(sending).where(*which).values(**values))
        else:
            row = {"account_id": number, "day": self._day, **values}
            self._conn.execute(insert(sending).values(**row))
        if day.new:
            self._conn.execute(
                insert(correspondent),
                [{"account_id": number, "address_key": one} for one in day.new],
            )


def _new(day: _Day, rows: Iterable[Queued]) -> list[str]:
    return sorted({_key(row) for row in rows} - day.known)


def _key(row: Queued) -> str:
    return parse_address(row.recipient, utf8=True).key


def _effective(own: int | None, house: int | None) -> int | None:
    if own is None:
        return house
    return None if own == _NO_LIMIT else own
