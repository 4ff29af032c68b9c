"""From an address to the mailboxes behind it, through aliases, groups and forwards."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from mailsvc.model.account import Account
from mailsvc.model.address import Address, parse_address
from mailsvc.model.ids import AccountId
from mailsvc.model.quota import Usage
from mailsvc.model.route import DeadEnd, Route
from mailsvc.store.accounts import LONGEST_CHAIN, mailboxes, postmaster, spellings_of
from mailsvc.store.domains import domain_enabled, domain_exists
from mailsvc.store.tables import alias, domain, folder

_MOST_PARAMETERS = 500


class _Turn(NamedTuple):
    """An alias, a group or a forward."""

    enabled: bool
    targets: tuple[Address, ...]


def usage_of(conn: Connection, account: AccountId) -> Usage:
    """Count what all folders of an account hold."""
    row = conn.execute(
        select(
            func.coalesce(func.sum(folder.c.octets), 0),
            func.coalesce(func.sum(folder.c.messages), 0),
        ).where(folder.c.account_id == account)
    ).one()
    return Usage(int(row[0]), int(row[1]))


def find_route(conn: Connection, address: Address, subaddress: str = "") -> Route:
    """
    Find the mailboxes that get the mail for an address of a domain of ours.

    Each mailbox counts once, whatever ways lead there. A circle, which no command makes, is
    cut where it closes.

    Args:
        subaddress: As in ``find_account``.
    """
    route = _Search(conn, subaddress).go((address,))
    if route.open or route.dead_end is not DeadEnd.UNKNOWN:
        return route
    wanted = select(domain.c.catch_all).where(domain.c.name == address.domain)
    catch_all = conn.scalar(wanted)
    if catch_all is None:
        return route
    return _Search(conn, subaddress).go((parse_address(catch_all, utf8=True),))


class _Search:
    """One way through all addresses behind one, level by level."""

    def __init__(self, conn: Connection, subaddress: str) -> None:
        self._conn = conn
        self._subaddress = subaddress
        self._seen: set[str] = set()
        self._found: dict[AccountId, Account] = {}
        self._remote: dict[Address, None] = {}
        self._disabled = False
        self._circle = False

    def go(self, level: Sequence[Address]) -> Route:
        """Follow everything to its end."""
        depth = 0
        while level:
            if depth > LONGEST_CHAIN:
                self._circle = True
                break
            level = self._follow(level)
            depth += 1
        return Route(tuple(self._found.values()), self._dead_end(), tuple(self._remote))

    def _dead_end(self) -> DeadEnd:
        if self._disabled:
            return DeadEnd.DISABLED
        return DeadEnd.CIRCLE if self._circle else DeadEnd.UNKNOWN

    def _follow(self, level: Sequence[Address]) -> list[Address]:
        """Take one step from each address; gives where it leads."""
        spelled = [spellings_of(one, self._subaddress) for one in level]
        keys = sorted({one.key for spellings in spelled for one in spellings})
        turns = _turns(self._conn, keys)
        accounts = {
            one.address.key: one for some in _slices(keys) for one in mailboxes(self._conn, some)
        }
        further: list[Address] = []
        for spellings in spelled:
            known = next((s for s in spellings if s.key in turns or s.key in accounts), None)
            if known is None:
                self._find_other(spellings)
            elif known.key in self._seen:
                self._circle = True
            else:
                self._seen.add(known.key)
                further += self._step(known, turns.get(known.key), accounts.get(known.key))
        return further

    def _step(
        self, here: Address, turn: _Turn | None, account: Account | None
    ) -> Iterable[Address]:
        """Note the mailbox of an address, or give where its mail goes on."""
        # An account that is disabled forwards nothing, and one whose forward is keeps its mail.
        if turn is None or (account is not None and not (account.enabled and turn.enabled)):
            self._note(account)
            return ()
        if not turn.enabled:
            self._disabled = True
            return ()
        if any(target.key == here.key for target in turn.targets):
            self._note(account)
        return [target for target in turn.targets if target.key != here.key]

    def _note(self, account: Account | None) -> None:
        if account is None:
            return
        if account.enabled:
            self._found.setdefault(account.id, account)
        else:
            self._disabled = True

    def _find_other(self, spellings: Sequence[Address]) -> None:
        """
        Look whether it is on another server.

        Every domain of ours has a postmaster; RFC 5321 section 4.5.1.
        """
        if domain_enabled(self._conn, spellings[0].domain) is None:
            self._remote.setdefault(spellings[0])
            return
        for one in spellings:
            if one.key == f"postmaster@{one.domain}" and domain_exists(self._conn, one.domain):
                self._note(postmaster(self._conn))
                return


def _turns(conn: Connection, keys: Sequence[str]) -> dict[str, _Turn]:
    """Look up aliases, groups and forwards; one in a disabled domain is disabled."""
    found: dict[str, _Turn] = {}
    for some in _slices(keys):
        rows = conn.execute(
            select(alias.c.address_key, alias.c.enabled, alias.c.targets, domain.c.enabled)
            .join(domain, domain.c.id == alias.c.domain_id)
            .where(alias.c.address_key.in_(some))
        )
        for key, enabled, targets, in_use in rows:
            found[key] = _Turn(enabled and in_use, targets_of(targets))
    return found


def targets_of(text: str) -> tuple[Address, ...]:
    """Read the targets of an alias as they stand in the database."""
    return tuple(parse_address(line, utf8=True) for line in text.split("\n") if line)


def _slices(keys: Sequence[str]) -> Iterable[Sequence[str]]:
    for start in range(0, len(keys), _MOST_PARAMETERS):
        yield keys[start : start + _MOST_PARAMETERS]
