"""Whether aliases, groups and forwards lead somewhere: no circle, no chain without end."""

from sqlalchemy import Connection, select

from mailsvc.errors import CommandError
from mailsvc.model.address import Address
from mailsvc.store.accounts import LONGEST_CHAIN, spellings_of
from mailsvc.store.routes import targets_of
from mailsvc.store.tables import alias

MOST_MAILBOXES = 1000
"""Behind one address, however they are reached; more are the matter of a broadcast."""


def check_chains(conn: Connection, address: Address, subaddress: str) -> None:
    """
    Look whether what an address leads to, and what leads to it, is still good.

    Disabled ones count: switching them on must not make a circle.

    Args:
        address: The one that was changed, in this transaction.
        subaddress: As in ``find_account``.

    Raises:
        CommandError: There is a circle, a chain is too long, or too many would get one
            message; the text says where.
    """
    chains = _Chains(conn, subaddress)
    for key in chains.before(address.key):
        chains.check(key)


class _Chains:
    """All aliases, groups and forwards of the database; changes of them are rare."""

    def __init__(self, conn: Connection, subaddress: str) -> None:
        rows = conn.execute(select(alias.c.address_key, alias.c.targets)).all()
        known = {row.address_key for row in rows}
        self._next = {
            row.address_key: [
                found
                for target in targets_of(row.targets)
                if (found := _key_in(known, target, subaddress)) != row.address_key
            ]
            for row in rows
        }
        self._heights: dict[str, int] = {}
        self._ends: dict[str, frozenset[str]] = {}

    def before(self, key: str) -> list[str]:
        """List an address with all that lead to it."""
        leading: dict[str, list[str]] = {}
        for one, targets in self._next.items():
            for target in targets:
                leading.setdefault(target, []).append(one)
        found = [key]
        for one in found:
            found += [further for further in leading.get(one, ()) if further not in found]
        return found

    def check(self, key: str) -> None:
        """Refuse what is wrong behind an address."""
        if self._height(key, ()) > LONGEST_CHAIN:
            raise CommandError(
                f"the way from {key} to a mailbox would be too long: "
                f"{LONGEST_CHAIN} steps at most; let it lead there directly"
            )
        many = len(self._mailboxes(key))
        if many > MOST_MAILBOXES:
            raise CommandError(
                f"{many} mailboxes would be behind {key}: {MOST_MAILBOXES} at most; "
                "make smaller groups"
            )

    def _height(self, key: str, path: tuple[str, ...]) -> int:
        """Count the steps of the longest way to a mailbox."""
        if key in path:
            circle = " -> ".join((*path[path.index(key) :], key))
            raise CommandError(f"that would lead in a circle: {circle}")
        if len(path) > 2 * LONGEST_CHAIN:
            return 0  # the answer is known: somebody before is too high
        if key not in self._heights:
            targets = self._next.get(key, ())
            heights = [self._height(target, (*path, key)) for target in targets]
            self._heights[key] = 1 + max(heights) if heights else 0
        return self._heights[key]

    def _mailboxes(self, key: str) -> frozenset[str]:
        if key not in self._ends:
            targets = self._next.get(key, ())
            found = [self._mailboxes(target) for target in targets]
            self._ends[key] = frozenset[str]().union(*found) if found else frozenset({key})
        return self._ends[key]


def _key_in(known: set[str], target: Address, subaddress: str) -> str:
    """Give the key under which a target is found."""
    spellings = spellings_of(target, subaddress)
    return next((one.key for one in spellings if one.key in known), target.key)
