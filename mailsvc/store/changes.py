"""What an administrator changes: each change and its row of the trail in one transaction."""

from sqlalchemy import Connection

from mailsvc.model.account import StoredPassword
from mailsvc.model.address import Address
from mailsvc.model.ids import AccountId, IdSource
from mailsvc.store.accounts import (
    NewAccount,
    add_account,
    delete_account,
    set_keep,
    set_password,
)
from mailsvc.store.settings import write_setting
from mailsvc.store.trail import note

_EVENT = "control"


def add_user(conn: Connection, ids: IdSource, new: NewAccount, by: str) -> AccountId:
    """
    Make an account; *by* is who asked for it.

    Raises:
        NotFound: Its domain is not ours.
        AlreadyThere: Its address is taken.
    """
    owner = add_account(conn, ids, new)
    detail = {"by": by, "did": "user add", "address": str(new.address), "role": new.role.value}
    note(conn, ids, _EVENT, account=owner, detail=detail)
    return owner


def change_password(
    conn: Connection, ids: IdSource, address: Address, password: StoredPassword, by: str
) -> AccountId:
    """
    Replace a password; *by* is who asked for it.

    Raises:
        NotFound: There is no such account.
    """
    owner = set_password(conn, ids, address, password)
    detail = {"by": by, "did": "user passwd", "address": str(address)}
    note(conn, ids, _EVENT, account=owner, detail=detail)
    return owner


def remove_user(conn: Connection, ids: IdSource, address: Address, by: str) -> AccountId:
    """
    Remove an account with all its mail; *by* is who asked for it.

    Raises:
        NotFound: There is no such account.
        CommandError: It is the last administrator.
    """
    owner = delete_account(conn, address)
    detail = {"by": by, "did": "user delete", "address": str(address)}
    note(conn, ids, _EVENT, account=owner, detail=detail)
    return owner


def change_keep(
    conn: Connection, ids: IdSource, address: Address, days: int | None, by: str
) -> AccountId:
    """
    Say for how many days an inbox keeps its mail; *by* is who asked for it.

    Raises:
        NotFound: There is no such account.
    """
    owner = set_keep(conn, address, days)
    detail = {"by": by, "did": "user keep", "address": str(address), "days": days}
    note(conn, ids, _EVENT, account=owner, detail=detail)
    return owner


def switch_service(
    conn: Connection, ids: IdSource, service: str, *, running: bool, by: str
) -> None:
    """Remember whether a service shall run: the daemon reads it when it starts."""
    write_setting(conn, f"service.{service}.running", running, by)
    did = "service start" if running else "service stop"
    note(conn, ids, _EVENT, detail={"by": by, "did": did, "service": service})
