"""Which processes share the database; each has a number of its own."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from mailsvc.errors import StartError
from mailsvc.model.ids import NODES
from mailsvc.store.tables import node

LIFE = timedelta(seconds=60)
"""A node that gave no sign for so long is dead, and its number is free."""


def join(conn: Connection, name: str, owner: int) -> int:
    """
    Take the lowest free number.

    Args:
        name: Of this machine, for people.
        owner: A number that no other process has.

    Raises:
        StartError: All numbers are taken.
    """
    now = datetime.now(UTC)
    conn.execute(delete(node).where(node.c.heartbeat < now - LIFE))
    taken = set(conn.scalars(select(node.c.id).with_for_update()))
    free = next((number for number in range(NODES) if number not in taken), None)
    if free is None:
        raise StartError(f"{NODES} nodes share this database already; stop one first")
    conn.execute(insert(node).values(id=free, name=name, owner=owner, heartbeat=now))
    return free


def beat(conn: Connection, number: int, owner: int) -> bool:
    """Give a sign of life; False: our number was given away."""
    seen = conn.execute(
        update(node)
        .where(node.c.id == number, node.c.owner == owner)
        .values(heartbeat=datetime.now(UTC))
    )
    return seen.rowcount == 1


def leave(conn: Connection, number: int, owner: int) -> None:
    """Give the number back."""
    conn.execute(delete(node).where(node.c.id == number, node.c.owner == owner))
