"""What an administrator does to domains."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, case, delete, func, select, update

from mailsvc.errors import CommandError, NotFound
from mailsvc.model.account import Role
from mailsvc.model.address import Address, parse_address
from mailsvc.model.domain import DomainSummary
from mailsvc.model.ids import DomainId, IdSource
from mailsvc.store.aliases import check_targets
from mailsvc.store.domains import add_domain
from mailsvc.store.removal import release_entries
from mailsvc.store.routes import targets_of
from mailsvc.store.tables import account, alias, domain, entry, folder


def make_domain(conn: Connection, ids: IdSource, name: str) -> DomainSummary:
    """
    Make a domain ours.

    Raises:
        AlreadyThere: It is.
    """
    add_domain(conn, ids, name)
    return get_domain(conn, name)


def list_domains(conn: Connection, after: str, most: int) -> list[DomainSummary]:
    """
    List domains in the order of their names, a page at a time.

    Args:
        after: The name of the last one of the page before; empty: from the start.
        most: The size of a page.
    """
    rows = conn.execute(
        select(domain).where(domain.c.name > after).order_by(domain.c.name).limit(most)
    ).all()
    return _summaries(conn, rows)


def get_domain(conn: Connection, name: str) -> DomainSummary:
    """
    Look one up.

    Raises:
        NotFound: It is not ours.
    """
    rows = conn.execute(select(domain).where(domain.c.name == name)).all()
    if not rows:
        raise NotFound(f"the domain {name} is not one of ours; see: mailctl domain list")
    return _summaries(conn, rows)[0]


def switch_domain(conn: Connection, name: str, *, enabled: bool) -> DomainSummary:
    """
    Enable or disable a domain.

    Raises:
        NotFound: It is not ours.
        CommandError: No administrator could log in any more, or no domain would be left.
    """
    _lock(conn)
    get_domain(conn, name)
    if not enabled:
        _refuse_last(conn, name)
    conn.execute(update(domain).where(domain.c.name == name).values(enabled=enabled))
    return get_domain(conn, name)


def set_domain(
    conn: Connection,
    name: str,
    changes: dict[str, int | None],
    catch_all: Address | None,
    subaddress: str,
) -> DomainSummary:
    """
    Change a domain.

    Args:
        changes: Columns with their new values.
        catch_all: The new one, when ``changes`` names none; None: as before.
        subaddress: As in ``find_account``.

    Raises:
        NotFound: It is not ours, or nobody has the address of the catch-all.
        CommandError: The catch-all is on another server.
    """
    _lock(conn)
    get_domain(conn, name)
    values: dict[str, Any] = dict(changes)
    if catch_all is not None:
        check_targets(conn, [catch_all], subaddress)
        values["catch_all"] = str(catch_all)
    conn.execute(update(domain).where(domain.c.name == name).values(**values))
    return get_domain(conn, name)


def remove_domain(conn: Connection, name: str, *, seen: tuple[int, int, int] | None) -> None:
    """
    Remove a domain.

    Args:
        seen: Its accounts, aliases and messages as they were saved; they go, too, and only
            these. None: it has none.

    Raises:
        NotFound: It is not ours.
        CommandError: It is not empty, not as it was saved, or needed.
    """
    _lock(conn)
    found = get_domain(conn, name)
    _refuse_last(conn, name)
    if seen is None and (found.accounts or found.aliases):
        raise CommandError(
            f"{name} has {found.accounts} accounts and {found.aliases} aliases; to remove them, "
            f"too: mailctl domain remove {name} --force --backup FILE"
        )
    number = conn.scalar(select(domain.c.id).where(domain.c.name == name))
    _refuse_foreign_use(conn, name)
    if seen is not None:
        _remove_accounts(conn, found, DomainId(number or 0), seen)
    conn.execute(delete(alias).where(alias.c.domain_id == number))
    conn.execute(delete(domain).where(domain.c.id == number))


def _remove_accounts(
    conn: Connection, found: DomainSummary, number: DomainId, seen: tuple[int, int, int]
) -> None:
    if found.enabled:
        raise CommandError(f"{found.name} still takes mail; disable it before it is saved")
    owners = select(account.c.id).where(account.c.domain_id == number)
    # Locked: what is delivered now would go without being saved and released.
    folders = list(
        conn.scalars(
            select(folder.c.id)
            .where(folder.c.account_id.in_(owners))
            .order_by(folder.c.id)
            .with_for_update()
        )
    )
    now = get_domain(conn, found.name)
    if (now.accounts, now.aliases, now.messages) != seen:
        raise CommandError(f"{found.name} has changed since it was saved; try again")
    for one in folders:
        release_entries(conn, entry.c.folder_id == one)
    conn.execute(delete(account).where(account.c.domain_id == number))


def _lock(conn: Connection) -> None:
    """Let one administrator at a time change domains and what leads where, on all nodes."""
    conn.scalars(select(domain.c.id).order_by(domain.c.id).with_for_update()).all()


def _refuse_last(conn: Connection, name: str) -> None:
    """Keep a domain, and an administrator who can log in."""
    others = domain.c.enabled.is_(True) & (domain.c.name != name)
    if conn.scalar(select(domain.c.id).where(others).limit(1)) is None:
        raise CommandError(f"{name} is the last domain in use; make or enable another one first")
    left = (
        select(account.c.id)
        .join(domain, domain.c.id == account.c.domain_id)
        .where(others, account.c.role == Role.ADMIN.value, account.c.enabled.is_(True))
    )
    if conn.scalar(left.limit(1)) is None:
        raise CommandError(
            f"{name} has the last administrator; make one in another domain first: "
            "mailctl user add ADDRESS --admin"
        )


def _refuse_foreign_use(conn: Connection, name: str) -> None:
    """Keep what other domains lead to."""
    rows = conn.execute(
        select(alias.c.address, alias.c.kind, alias.c.targets)
        .join(domain, domain.c.id == alias.c.domain_id)
        .where(domain.c.name != name)
    )
    for address, kind, targets in rows:
        for target in targets_of(targets):
            if target.domain == name:
                raise CommandError(f"the {kind} {address} leads to {target}; change it first")
    for row in conn.execute(select(domain.c.name, domain.c.catch_all).where(domain.c.name != name)):
        if row.catch_all and parse_address(row.catch_all, utf8=True).domain == name:
            raise CommandError(
                f"{row.catch_all} is the catch-all of {row.name}; "
                f"change it first: mailctl domain set {row.name} --catch-all none"
            )


def _summaries(conn: Connection, rows: Sequence[Row[Any]]) -> list[DomainSummary]:
    numbers = [row.id for row in rows]
    accounts = _counts(
        conn,
        select(
            account.c.domain_id,
            func.count(),
            func.sum(case((account.c.role == Role.ADMIN.value, 1), else_=0)),
        )
        .where(account.c.domain_id.in_(numbers))
        .group_by(account.c.domain_id),
    )
    aliases = _counts(
        conn,
        select(alias.c.domain_id, func.count())
        .where(alias.c.domain_id.in_(numbers), alias.c.kind != "forward")
        .group_by(alias.c.domain_id),
    )
    usage = _counts(
        conn,
        select(account.c.domain_id, func.sum(folder.c.messages), func.sum(folder.c.octets))
        .join(folder, folder.c.account_id == account.c.id)
        .where(account.c.domain_id.in_(numbers))
        .group_by(account.c.domain_id),
    )
    return [
        _summary(row, accounts.get(row.id), aliases.get(row.id), usage.get(row.id)) for row in rows
    ]


def _counts(conn: Connection, query: Any) -> dict[int, tuple[int, ...]]:
    return {number: tuple(map(int, counts)) for number, *counts in conn.execute(query)}


def _summary(
    row: Row[Any],
    accounts: tuple[int, ...] | None,
    aliases: tuple[int, ...] | None,
    usage: tuple[int, ...] | None,
) -> DomainSummary:
    users, administrators = accounts or (0, 0)
    messages, octets = usage or (0, 0)
    return DomainSummary(
        name=row.name,
        enabled=row.enabled,
        accounts=users,
        administrators=administrators,
        aliases=(aliases or (0,))[0],
        messages=messages,
        octets=octets,
        quota_octets=row.quota_octets,
        quota_messages=row.quota_messages,
        catch_all=None if row.catch_all is None else parse_address(row.catch_all, utf8=True),
        created=row.created,
    )
