"""The domains that are ours."""

from datetime import UTC, datetime

from sqlalchemy import Connection, insert, select

from mailsvc.errors import AlreadyThere
from mailsvc.model.ids import IdSource
from mailsvc.store.tables import domain


def domain_enabled(conn: Connection, name: str) -> bool | None:
    """Tell whether a domain of ours is enabled; None: it is not ours."""
    found: bool | None = conn.scalar(select(domain.c.enabled).where(domain.c.name == name))
    return found


def domain_exists(conn: Connection, name: str) -> bool:
    """Tell whether a domain is ours and enabled."""
    return bool(domain_enabled(conn, name))


def any_domain(conn: Connection) -> bool:
    """Tell whether the database has been set up."""
    return conn.scalar(select(domain.c.id).limit(1)) is not None


def first_domain(conn: Connection) -> str | None:
    """Give the oldest enabled domain: logins without a domain belong to it."""
    return conn.scalar(
        select(domain.c.name).where(domain.c.enabled.is_(True)).order_by(domain.c.id).limit(1)
    )


def add_domain(conn: Connection, ids: IdSource, name: str) -> None:
    """
    Make a domain ours.

    Raises:
        AlreadyThere: It is.
    """
    if conn.scalar(select(domain.c.id).where(domain.c.name == name)) is not None:
        raise AlreadyThere(f"the domain {name} exists already")
    conn.execute(
        insert(domain).values(id=ids.next(), name=name, enabled=True, created=datetime.now(UTC))
    )
