"""Invitations, and the accounts that people make for themselves."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from mailsvc.errors import CommandError, NotFound
from mailsvc.model.address import Address
from mailsvc.model.ids import AccountId, IdSource
from mailsvc.model.registration import Invitation, NewInvitation
from mailsvc.store.account_changes import delete_account
from mailsvc.store.accounts import NewAccount, add_account, lock_account
from mailsvc.store.tables import account, domain, invitation


def add_invitation(
    conn: Connection, ids: IdSource, new: NewInvitation, digest: str, hint: str
) -> int:
    """
    Add an invitation.

    Args:
        digest: SHA-256 of its code in hexadecimal digits.
        hint: How the code begins.

    Raises:
        NotFound: Its domain is not ours.
    """
    within = None
    if new.domain:
        within = conn.scalar(select(domain.c.id).where(domain.c.name == new.domain))
        if within is None:
            raise NotFound(f"{new.domain} is not a domain of this server")
    number, now = ids.next(), datetime.now(UTC)
    conn.execute(
        insert(invitation).values(
            id=number,
            digest=digest,
            hint=hint,
            domain_id=within,
            uses_left=new.uses,
            note=new.note,
            created=now,
            expires=None if new.span is None else now + new.span,
        )
    )
    return number


def list_invitations(conn: Connection, after: int, most: int) -> list[Invitation]:
    """List invitations that are good, the oldest first; *after* is the last one's number."""
    conn_rows = conn.execute(
        select(invitation, domain.c.name)
        .outerjoin(domain, domain.c.id == invitation.c.domain_id)
        .where(invitation.c.id > after, _is_good())
        .order_by(invitation.c.id)
        .limit(most)
    )
    return [_invitation(row) for row in conn_rows]


def remove_invitation(conn: Connection, number: int) -> None:
    """
    Remove an invitation.

    Raises:
        NotFound: There is none with this number.
    """
    if not conn.execute(delete(invitation).where(invitation.c.id == number)).rowcount:
        raise NotFound(f"there is no invitation {number}; see: mailctl invitation list")


def invited_to(conn: Connection, digest: str) -> str | None:
    """
    Look an invitation up.

    Returns:
        Its domain, empty: as the settings say; None: it is not good.
    """
    found = conn.execute(
        select(domain.c.name)
        .select_from(invitation)
        .outerjoin(domain, domain.c.id == invitation.c.domain_id)
        .where(invitation.c.digest == digest, _is_good())
    ).one_or_none()
    return None if found is None else found.name or ""


def register(
    conn: Connection, ids: IdSource, new: NewAccount, digest: str, most_waiting: int
) -> AccountId:
    """
    Make an account for somebody who asks for it himself.

    Args:
        new: The account; one that is not enabled waits for an administrator.
        digest: Of the invitation that is used; empty: none is.
        most_waiting: Accounts that may wait.

    Raises:
        CommandError: The invitation was used up meanwhile, or too many wait.
        AlreadyThere, NotFound: As for ``add_account``.
    """
    if digest:
        used = update(invitation).where(invitation.c.digest == digest, _is_good())
        if not conn.execute(used.values(uses_left=invitation.c.uses_left - 1)).rowcount:
            raise CommandError("this invitation is not good any more; ask for another one")
        conn.execute(delete(invitation).where(invitation.c.uses_left < 1))
    elif not new.enabled and count_pending(conn) >= most_waiting:
        raise CommandError("too many wait for an account already; try again in some days")
    owner = add_account(conn, ids, new)
    if not new.enabled:
        conn.execute(update(account).where(account.c.id == owner).values(pending=True))
    return owner


def count_pending(conn: Connection) -> int:
    """Count the accounts that wait for an administrator."""
    return conn.scalar(select(func.count()).where(account.c.pending.is_(True))) or 0


def approve(conn: Connection, address: Address) -> AccountId:
    """
    Let somebody in who has registered.

    Raises:
        NotFound: There is no such account.
        CommandError: It does not wait.
    """
    owner = _waiting(conn, address)
    values = {"pending": False, "enabled": True, "enabled_until": None}
    conn.execute(update(account).where(account.c.id == owner).values(**values))
    return owner


def reject(conn: Connection, address: Address) -> AccountId:
    """Remove the account of somebody who has registered; errors as for ``approve``."""
    _waiting(conn, address)
    return delete_account(conn, address, None)


def _waiting(conn: Connection, address: Address) -> AccountId:
    owner = lock_account(conn, address)
    if not conn.scalar(select(account.c.pending).where(account.c.id == owner)):
        raise CommandError(f"{address} does not wait for approval; see: mailctl user pending")
    return owner


def _is_good() -> Any:
    unexpired = invitation.c.expires.is_(None) | (invitation.c.expires > datetime.now(UTC))
    return (invitation.c.uses_left > 0) & unexpired


def _invitation(row: Row[Any]) -> Invitation:
    return Invitation(
        number=row.id,
        hint=row.hint,
        uses_left=row.uses_left,
        note=row.note,
        domain=row.name or "",
        created=row.created,
        expires=row.expires,
    )
