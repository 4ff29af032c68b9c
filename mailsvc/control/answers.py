"""What the daemon does for each command: one function a command, arguments in, answer out."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from twisted.protocols.amp import AmpList, Command

from mailsvc.admin.administration import Administration
from mailsvc.admin.values import LARGEST_PAGE, AccountPage, NewUser
from mailsvc.control.commands import (
    ACCOUNT,
    Misunderstood,
    ServiceStart,
    ServiceStop,
    Status,
    UserAdd,
    UserDelete,
    UserKeep,
    UserList,
    UserPassword,
)
from mailsvc.model.account import AccountSummary, Role

MOST_OCTETS = 60_000
"""Of a list in one answer: a value of AMP holds 65,535."""

_ROW = AmpList(ACCOUNT)

Answer = Callable[..., Awaitable[dict[str, Any]]]
"""Takes the administration, who asks, and the arguments of the command by name."""


async def status(administration: Administration, by: str) -> dict[str, Any]:
    """Tell how the daemon is."""
    del by
    seen = await administration.status()
    return {
        **asdict(seen),
        "uptime": round(seen.uptime.total_seconds() * 1_000_000),
        "listeners": [asdict(listener) for listener in seen.listeners],
    }


async def user_add(
    administration: Administration, by: str, *, role: str | None, **asked: Any
) -> dict[str, Any]:
    """Make an account."""
    given = {name: value for name, value in asked.items() if value is not None}
    made = await administration.add_user(NewUser(role=_role(role), **given), by=by)
    return {"address": str(made.address), "password": made.password}


def _role(text: str | None) -> Role:
    try:
        return Role(text or Role.USER)
    except ValueError:
        raise Misunderstood(f"there is no role {text!r}: it is user or admin") from None


async def user_list(
    administration: Administration, by: str, *, after: str | None, most: int | None
) -> dict[str, Any]:
    """List accounts, as many as fit."""
    del by
    page = await administration.list_users(after or "", LARGEST_PAGE if most is None else most)
    return _fitting(page)


def _fitting(page: AccountPage) -> dict[str, Any]:
    """Cut the page where the value of AMP would be too large; the cursor tells where."""
    rows: list[dict[str, Any]] = []
    octets = 0
    for account in page.accounts:
        row = _row(account)
        octets += len(_ROW.toStringProto([row], None))
        if octets > MOST_OCTETS and rows:
            return {"accounts": rows, "next": page.accounts[len(rows) - 1].address.key}
        rows.append(row)
    return {"accounts": rows, "next": page.next}


def _row(account: AccountSummary) -> dict[str, Any]:
    return {
        **{name: getattr(account, name) for name in AccountSummary.__slots__},
        "address": str(account.address),
        "role": account.role.value,
        "scopes": sorted(scope.value for scope in account.scopes),
    }


async def user_password(
    administration: Administration, by: str, *, address: str, password: bytes | None
) -> dict[str, Any]:
    """Replace a password."""
    made = await administration.set_password(address, password, by=by)
    return {"address": str(made.address), "password": made.password}


async def user_keep(
    administration: Administration, by: str, *, address: str, days: int | None
) -> dict[str, Any]:
    """Say for how long an inbox keeps its mail."""
    return {"address": str(await administration.set_keep(address, days, by=by))}


async def user_delete(administration: Administration, by: str, *, address: str) -> dict[str, Any]:
    """Remove an account."""
    return {"address": str(await administration.delete_user(address, by=by))}


async def service_start(administration: Administration, by: str, *, service: str) -> dict[str, Any]:
    """Open the listeners of a service."""
    await administration.set_service(service, running=True, by=by)
    return {}


async def service_stop(administration: Administration, by: str, *, service: str) -> dict[str, Any]:
    """Close the listeners of a service."""
    await administration.set_service(service, running=False, by=by)
    return {}


ANSWERS: Mapping[type[Command], Answer] = {
    Status: status,
    UserAdd: user_add,
    UserList: user_list,
    UserPassword: user_password,
    UserKeep: user_keep,
    UserDelete: user_delete,
    ServiceStart: service_start,
    ServiceStop: service_stop,
}
"""Everything but ``Hello``, which is the matter of the connection."""
