"""Keys that sign the mail of our domains."""

from datetime import UTC, datetime

from sqlalchemy import Connection, delete, insert, select, update

from mailsvc.errors import AlreadyThere, NotFound
from mailsvc.model.dkim import Algorithm, SigningKey
from mailsvc.model.ids import DomainId, IdSource
from mailsvc.store.tables import dkim_key, domain

KeptKey = tuple[SigningKey, bool, datetime]
"""A key, whether it signs, and when it was made, aware UTC."""


def signing_keys(conn: Connection, name: str) -> tuple[SigningKey, ...]:
    """Give the keys that sign the mail of a domain; none, where it is not ours or disabled."""
    rows = conn.execute(
        select(dkim_key.c.selector, dkim_key.c.algorithm, dkim_key.c.private)
        .join(domain, domain.c.id == dkim_key.c.domain_id)
        .where(domain.c.name == name, domain.c.enabled.is_(True), dkim_key.c.active.is_(True))
        .order_by(dkim_key.c.id)
    )
    return tuple(
        SigningKey(name, selector, Algorithm(algorithm), private)
        for selector, algorithm, private in rows
    )


def list_keys(conn: Connection, name: str = "") -> list[KeptKey]:
    """List the keys of one domain, or of all."""
    wanted = (
        select(dkim_key, domain.c.name)
        .join(domain, domain.c.id == dkim_key.c.domain_id)
        .order_by(domain.c.name, dkim_key.c.id)
    )
    if name:
        wanted = wanted.where(domain.c.name == name)
    return [
        (
            SigningKey(row.name, row.selector, Algorithm(row.algorithm), row.private),
            row.active,
            row.created,
        )
        for row in conn.execute(wanted)
    ]


def add_key(conn: Connection, ids: IdSource, key: SigningKey, *, active: bool) -> None:
    """
    Keep a key.

    Raises:
        NotFound: Its domain is not ours.
        AlreadyThere: The domain has one with this selector.
    """
    owner = _domain(conn, key.domain)
    taken = select(dkim_key.c.id).where(
        dkim_key.c.domain_id == owner, dkim_key.c.selector == key.selector
    )
    if conn.scalar(taken) is not None:
        raise AlreadyThere(f"{key.domain} has a key {key.selector}; choose another --selector")
    conn.execute(
        insert(dkim_key).values(
            id=ids.next(),
            domain_id=owner,
            selector=key.selector,
            algorithm=key.algorithm.value,
            private=key.private,
            active=active,
            created=datetime.now(UTC),
        )
    )


def switch_key(conn: Connection, name: str, selector: str, *, active: bool) -> None:
    """
    Let a key sign, or not.

    Raises:
        NotFound: There is none.
    """
    which = (dkim_key.c.domain_id == _domain(conn, name), dkim_key.c.selector == selector)
    found = conn.scalar(select(dkim_key.c.id).where(*which).with_for_update())
    _check(found, name, selector)
    conn.execute(update(dkim_key).where(dkim_key.c.id == found).values(active=active))


def remove_key(conn: Connection, name: str, selector: str) -> None:
    """
    Remove a key.

    Raises:
        NotFound: There is none.
    """
    which = (dkim_key.c.domain_id == _domain(conn, name), dkim_key.c.selector == selector)
    found = conn.scalar(select(dkim_key.c.id).where(*which).with_for_update())
    _check(found, name, selector)
    conn.execute(delete(dkim_key).where(dkim_key.c.id == found))


def _check(found: int | None, name: str, selector: str) -> None:
    if found is None:
        raise NotFound(f"{name} has no key {selector}; see: mailctl dkim list")


def _domain(conn: Connection, name: str) -> DomainId:
    found = conn.scalar(select(domain.c.id).where(domain.c.name == name))
    if found is None:
        raise NotFound(f"{name} is not a domain of this server")
    return DomainId(found)
