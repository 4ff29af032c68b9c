"""Aliases, groups and forwards: made, changed and removed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from mailsvc.errors import AlreadyThere, CommandError, NotFound
from mailsvc.model.address import Address, parse_address
from mailsvc.model.alias import AliasKind, AliasSummary
from mailsvc.model.ids import DomainId, IdSource
from mailsvc.store.accounts import spellings_of
from mailsvc.store.addresses import claim_address
from mailsvc.store.chains import check_chains
from mailsvc.store.routes import targets_of
from mailsvc.store.tables import account, alias, domain

LONGEST_TARGETS = 50_000
"""Octets of all targets of one address; MariaDB's TEXT ends at 64 KiB."""


def add_alias(
    conn: Connection,
    ids: IdSource,
    kind: AliasKind,
    address: Address,
    targets: Sequence[Address],
    subaddress: str,
) -> AliasSummary:
    """
    Make an alias or a group.

    Args:
        subaddress: As in ``find_account``.

    Raises:
        AlreadyThere: The address is taken.
        NotFound: Its domain is not ours, or nobody has one of the targets.
        CommandError: A target is elsewhere, or it would lead in a circle or to too many.
    """
    _lock(conn)
    in_domain = claim_address(conn, address)
    _insert(conn, ids, in_domain, kind, address)
    return _set_targets(conn, kind, address, targets, subaddress)


def set_forward(
    conn: Connection,
    ids: IdSource,
    address: Address,
    targets: Sequence[Address],
    subaddress: str,
) -> AliasSummary:
    """Say where the mail of an account goes, anew; its own address keeps a copy. See above."""
    _lock(conn)
    in_domain = conn.scalar(select(account.c.domain_id).where(account.c.address_key == address.key))
    if in_domain is None:
        raise NotFound(f"there is no account {address}; what leads elsewhere only is an alias")
    if _find(conn, AliasKind.FORWARD, address) is None:
        _insert(conn, ids, DomainId(in_domain), AliasKind.FORWARD, address)
    return _set_targets(conn, AliasKind.FORWARD, address, targets, subaddress)


def add_members(
    conn: Connection, address: Address, members: Sequence[Address], subaddress: str
) -> AliasSummary:
    """
    Add members to a group; errors as for ``add_alias``.

    Raises:
        AlreadyThere: One is a member.
    """
    _lock(conn)
    before = get_alias(conn, AliasKind.GROUP, address).targets
    known = {one.key for one in before}
    for member in members:
        if member.key in known:
            raise AlreadyThere(f"{member} is a member of {address} already")
    return _set_targets(conn, AliasKind.GROUP, address, (*before, *members), subaddress)


def remove_members(conn: Connection, address: Address, members: Sequence[Address]) -> AliasSummary:
    """
    Take members out of a group.

    Raises:
        NotFound: There is no such group, or one is no member.
    """
    _lock(conn)
    before = get_alias(conn, AliasKind.GROUP, address).targets
    known, going = {one.key for one in before}, {one.key for one in members}
    for member in members:
        if member.key not in known:
            raise NotFound(f"{member} is no member of {address}")
    _write_targets(conn, address, [one for one in before if one.key not in going])
    return get_alias(conn, AliasKind.GROUP, address)


def switch_alias(
    conn: Connection, kind: AliasKind, address: Address, *, enabled: bool
) -> AliasSummary:
    """
    Enable or disable an alias, a group or a forward.

    Raises:
        NotFound: There is none.
    """
    get_alias(conn, kind, address)
    conn.execute(update(alias).where(alias.c.address_key == address.key).values(enabled=enabled))
    return get_alias(conn, kind, address)


def remove_alias(conn: Connection, kind: AliasKind, address: Address) -> None:
    """
    Remove an alias, a group or a forward.

    Raises:
        NotFound: There is none.
        CommandError: Others lead to it, or it is a catch-all.
    """
    _lock(conn)
    get_alias(conn, kind, address)
    if kind is not AliasKind.FORWARD:
        _refuse_in_use(conn, address)
    conn.execute(delete(alias).where(alias.c.address_key == address.key))


def rename_targets(conn: Connection, old: Address, new: Address) -> None:
    """
    Follow an account to its new address: its forward, and all that lead to it.

    For the transaction that renames it.
    """
    _lock(conn)
    conn.execute(
        update(alias)
        .where(alias.c.address_key == old.key, alias.c.kind == AliasKind.FORWARD.value)
        .values(address=str(new), address_key=new.key)
    )
    for row in conn.execute(select(alias.c.address, alias.c.targets)).all():
        before = targets_of(row.targets)
        after = [new if one.key == old.key else one for one in before]
        if list(before) != after:
            _write_targets(conn, parse_address(row.address, utf8=True), after)
    conn.execute(update(domain).where(domain.c.catch_all == str(old)).values(catch_all=str(new)))


def list_aliases(conn: Connection, kind: AliasKind, after: str, most: int) -> list[AliasSummary]:
    """
    List those of one kind in the order of their keys, a page at a time.

    Args:
        after: The key of the last one of the page before; empty: from the start.
        most: The size of a page.
    """
    rows = conn.execute(
        select(alias)
        .where(alias.c.kind == kind.value, alias.c.address_key > after)
        .order_by(alias.c.address_key)
        .limit(most)
    )
    return [_summary(row) for row in rows]


def get_alias(conn: Connection, kind: AliasKind, address: Address) -> AliasSummary:
    """
    Look one up.

    Raises:
        NotFound: There is none of this kind.
    """
    found = _find(conn, kind, address)
    if found is None:
        raise NotFound(f"there is no {kind} {address}")
    return found


def check_targets(conn: Connection, targets: Sequence[Address], subaddress: str) -> None:
    """
    Refuse targets that no mail could go to.

    Those on other servers are theirs to know.

    Raises:
        NotFound: Nobody has one of them.
    """
    ours = set(conn.scalars(select(domain.c.name)))
    for target in targets:
        if target.domain in ours and not _is_somebody(conn, target, subaddress):
            raise NotFound(f"there is no account, alias or group {target}; make it first")


def _lock(conn: Connection) -> None:
    """Let one administrator at a time change what leads where, on all nodes."""
    conn.scalars(select(domain.c.id).order_by(domain.c.id).with_for_update()).all()


def _insert(
    conn: Connection, ids: IdSource, in_domain: DomainId, kind: AliasKind, address: Address
) -> None:
    conn.execute(
        insert(alias).values(
            id=ids.next(),
            domain_id=in_domain,
            address=str(address),
            address_key=address.key,
            kind=kind.value,
            targets="",
            enabled=True,
            created=datetime.now(UTC),
        )
    )


def _set_targets(
    conn: Connection,
    kind: AliasKind,
    address: Address,
    targets: Sequence[Address],
    subaddress: str,
) -> AliasSummary:
    unlike = list({target.key: target for target in targets}.values())
    others = [target for target in unlike if target.key != address.key]
    if kind is not AliasKind.FORWARD and len(others) != len(unlike):
        raise CommandError(f"that would lead in a circle: {address} -> {address}")
    if kind is AliasKind.FORWARD and not others:
        raise CommandError(f"{address} has its mail anyway; name where else it goes")
    check_targets(conn, others, subaddress)
    _write_targets(conn, address, unlike)
    check_chains(conn, address, subaddress)
    return get_alias(conn, kind, address)


def _write_targets(conn: Connection, address: Address, targets: Sequence[Address]) -> None:
    text = "\n".join(map(str, targets))
    if len(text.encode()) > LONGEST_TARGETS:
        raise CommandError(f"{address} would have too many targets; make a group of groups")
    conn.execute(update(alias).where(alias.c.address_key == address.key).values(targets=text))


def _is_somebody(conn: Connection, target: Address, subaddress: str) -> bool:
    keys = [one.key for one in spellings_of(target, subaddress)]
    if f"postmaster@{target.domain}" in keys:
        return True
    found = (select(table.c.id).where(table.c.address_key.in_(keys)) for table in (account, alias))
    return any(conn.scalar(query.limit(1)) is not None for query in found)


def _refuse_in_use(conn: Connection, address: Address) -> None:
    for row in conn.execute(select(alias.c.address, alias.c.kind, alias.c.targets)):
        if any(target.key == address.key for target in targets_of(row.targets)):
            raise CommandError(f"the {row.kind} {row.address} leads to {address}; change it first")
    for name, catch_all in conn.execute(select(domain.c.name, domain.c.catch_all)):
        if catch_all and parse_address(catch_all, utf8=True).key == address.key:
            raise CommandError(
                f"{address} is the catch-all of {name}; "
                f"change it first: mailctl domain set {name} --catch-all none"
            )


def _find(conn: Connection, kind: AliasKind, address: Address) -> AliasSummary | None:
    row = conn.execute(
        select(alias).where(alias.c.address_key == address.key, alias.c.kind == kind.value)
    ).first()
    return None if row is None else _summary(row)


def _summary(row: Row[Any]) -> AliasSummary:
    return AliasSummary(
        address=parse_address(row.address, utf8=True),
        kind=AliasKind(row.kind),
        targets=targets_of(row.targets),
        enabled=row.enabled,
        created=row.created,
    )
