"""The client's commands about accounts."""

from collections.abc import Mapping
from typing import Any

from mailsvc.control.boxes import box_of, build
from mailsvc.control.client.connection import ControlConnection
from mailsvc.control.commands.users import (
    UserAdd,
    UserDelete,
    UserKeep,
    UserList,
    UserPassword,
    UserRename,
    UserRole,
    UserSet,
    UserShow,
    UserTurn,
)
from mailsvc.model.account import EVERYBODY, AccountFilter, AccountSummary, Role
from mailsvc.model.address import Address
from mailsvc.model.page import LARGEST_PAGE, Page
from mailsvc.model.user import NewLogin, NewUser, Turned, UserChange, UserSwitch


class UsersClient:
    """
    Accounts; errors as in ``ControlClient``.

    Args:
        line: To the daemon.
    """

    def __init__(self, line: ControlConnection) -> None:
        self._line = line

    async def add(self, user: NewUser) -> NewLogin:
        """Make an account."""
        return build(NewLogin, await self._line.ask(UserAdd, **box_of(user)))

    async def list(
        self, after: str = "", most: int = LARGEST_PAGE, only: AccountFilter = EVERYBODY
    ) -> Page[AccountSummary]:
        """
        List accounts, a page at a time.

        Args:
            after: What the page before this one gave as ``next``; empty: from the start.
            most: Accounts in the page; there may be fewer though it is not the last one.
            only: Which.
        """
        return await self._line.page(UserList, after, most, **box_of(only))

    async def show(self, address: str) -> AccountSummary:
        """Look one up."""
        return build(AccountSummary, await self._line.ask(UserShow, address=address))

    async def set_password(self, address: str, password: bytes | None) -> NewLogin:
        """Replace a password; without one it is made at random."""
        asked = self._line.ask(UserPassword, address=address, password=password)
        return build(NewLogin, await asked)

    async def set_keep(self, address: str, days: int | None) -> Address:
        """Say for how many days an inbox keeps its mail; None: for ever."""
        return _address(await self._line.ask(UserKeep, address=address, days=days))

    async def set(self, change: UserChange) -> Address:
        """Change name, language or quotas; gives the whole address."""
        return _address(await self._line.ask(UserSet, **box_of(change)))

    async def switch(self, asked: UserSwitch) -> Turned:
        """Turn a switch: the whole account, or one front end."""
        return build(Turned, await self._line.ask(UserTurn, **box_of(asked)))

    async def set_role(self, address: str, role: Role) -> Address:
        """Make somebody an administrator, or a user again."""
        return _address(await self._line.ask(UserRole, address=address, role=role))

    async def rename(self, address: str, new: str) -> Address:
        """Give an account another address; its mail stays."""
        return _address(await self._line.ask(UserRename, address=address, new=new))

    async def delete(self, address: str, holds: int | None = None) -> Address:
        """
        Remove an account with all its mail.

        Args:
            holds: The messages that it had when they were saved: refused when it has others
                now. None: they need not be saved.
        """
        return _address(await self._line.ask(UserDelete, address=address, holds=holds))


def _address(found: Mapping[str, Any]) -> Address:
    address: Address = found["address"]
    return address
