"""What an administrator changes of an account."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import IntegrityError

from mailsvc.errors import AlreadyThere, CommandError
from mailsvc.model.account import Role, Switch
from mailsvc.model.address import Address
from mailsvc.model.ids import AccountId
from mailsvc.store.accounts import lock_account, lock_rows
from mailsvc.store.addresses import claim_address
from mailsvc.store.aliases import rename_targets
from mailsvc.store.removal import release_entries
from mailsvc.store.tables import account, alias, domain, entry, folder

_COLUMNS = {
    Switch.ENABLED: "enabled",
    Switch.SMTP: "smtp_on",
    Switch.POP3: "pop3_on",
    Switch.WEB: "web_on",
}


def switch_account(
    conn: Connection, address: Address, switch: Switch, *, on: bool, until: datetime | None
) -> AccountId:
    """
    Turn one switch of an account.

    Args:
        until: When it turns back by itself; None: never.

    Raises:
        NotFound: There is no such account.
        CommandError: Nobody who can administrate would be left.
    """
    owner = lock_account(conn, address)
    values: dict[str, Any] = {_COLUMNS[switch]: on, f"{switch.value}_until": until}
    if switch is Switch.ENABLED:
        if not on or until is not None:
            _keep_an_administrator(conn, owner, address)
        values["pending"] = False
    conn.execute(update(account).where(account.c.id == owner).values(**values))
    return owner


def set_role(conn: Connection, address: Address, role: Role) -> AccountId:
    """
    Make somebody an administrator, or a user again.

    Raises:
        NotFound: There is no such account.
        CommandError: Nobody who can administrate would be left.
    """
    owner = lock_account(conn, address)
    if role is not Role.ADMIN:
        _keep_an_administrator(conn, owner, address)
    conn.execute(update(account).where(account.c.id == owner).values(role=role.value))
    return owner


def change_account(conn: Connection, address: Address, values: Mapping[str, Any]) -> AccountId:
    """
    Change columns that concern nobody else: name, language, quotas.

    Raises:
        NotFound: There is no such account.
    """
    owner = lock_account(conn, address)
    conn.execute(update(account).where(account.c.id == owner).values(**values))
    return owner


def rename_account(conn: Connection, old: Address, new: Address) -> AccountId:
    """
    Give an account another address; its mail stays, and what leads to it follows.

    Raises:
        NotFound: There is no such account, or the new domain is not ours.
        AlreadyThere: The new address is taken.
    """
    owner = lock_account(conn, old)
    values: dict[str, Any] = {"address": str(new), "address_key": new.key}
    if new.key != old.key:
        values["domain_id"] = claim_address(conn, new)
    try:
        conn.execute(update(account).where(account.c.id == owner).values(**values))
    except IntegrityError:
        raise AlreadyThere(f"the account {new} exists already") from None
    rename_targets(conn, old, new)
    return owner


def delete_account(conn: Connection, address: Address, holds: int | None = None) -> AccountId:
    """
    Remove an account with all its mail; bodies nobody else has are purged later.

    Args:
        holds: The messages that it had when they were saved; None: they need not be.

    Raises:
        NotFound: There is no such account.
        CommandError: Nobody who can administrate would be left, or mail came meanwhile.
    """
    owner = lock_account(conn, address)
    _keep_an_administrator(conn, owner, address)
    # Locked: what another transaction delivers now would go without being released.
    folders = lock_rows(conn, folder, folder.c.account_id == owner)
    if holds is not None:
        _refuse_new_mail(conn, address, folders, holds)
    release_entries(conn, entry.c.folder_id.in_(folders))
    conn.execute(delete(account).where(account.c.id == owner))
    # What was forwarded from it was its own; whoever has the address next begins anew.
    conn.execute(delete(alias).where(alias.c.address_key == address.key))
    return owner


def _refuse_new_mail(conn: Connection, address: Address, folders: list[int], holds: int) -> None:
    counts = conn.scalars(select(folder.c.messages).where(folder.c.id.in_(folders)))
    if (now := sum(counts)) != holds:
        raise CommandError(
            f"{address} has {now} messages now and had {holds} when they were saved; "
            "nothing was deleted: disable the account, and save it again"
        )


def _keep_an_administrator(conn: Connection, owner: AccountId, address: Address) -> None:
    """Refuse what would leave nobody who can log in and administrate, now and later."""
    # Locked: two administrators who remove each other at once must not both succeed.
    administrators = lock_rows(conn, account, account.c.role == Role.ADMIN.value)
    if owner not in administrators:
        return
    rows = conn.execute(
        select(account.c.enabled, account.c.enabled_until)
        .join(domain, domain.c.id == account.c.domain_id)
        .where(
            account.c.id.in_(administrators),
            account.c.id != owner,
            domain.c.enabled.is_(True),
        )
    )
    # One that is enabled for some hours only is none to rely on.
    if not any(row.enabled and row.enabled_until is None for row in rows):
        raise CommandError(f"{address} is the last administrator; make another one first")
