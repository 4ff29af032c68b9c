"""Accounts."""

from datetime import UTC, datetime

from mailsvc.admin.office import Office
from mailsvc.admin.rules import (
    checked_daily,
    checked_keep,
    checked_language,
    checked_name,
    checked_own_quota,
    checked_page,
    checked_password,
    checked_span,
)
from mailsvc.auth.passwords import Passwords, make_password
from mailsvc.errors import CommandError
from mailsvc.interfaces import ILiveSettings
from mailsvc.model.account import EVERYBODY, AccountFilter, AccountSummary, Role
from mailsvc.model.address import Address
from mailsvc.model.page import Page, page_of
from mailsvc.model.user import DOMAINS_QUOTA, NewLogin, NewUser, Turned, UserChange, UserSwitch
from mailsvc.store.account_changes import (
    change_account,
    delete_account,
    rename_account,
    set_role,
    switch_account,
)
from mailsvc.store.accounts import (
    NewAccount,
    add_account,
    get_summary,
    list_accounts,
    set_keep,
    set_password,
)
from mailsvc.store.invitations import approve, reject
from mailsvc.store.trail import Record


class Users:
    """
    Makes, lists, changes and removes accounts; errors as in ``Administration``.

    Args:
        office: Where changes are made.
        passwords: Makes verifiers.
        live: Has the settings in force.
    """

    def __init__(self, office: Office, passwords: Passwords, live: ILiveSettings) -> None:
        self._office = office
        self._passwords = passwords
        self._live = live

    async def list(
        self, after: str, most: int, only: AccountFilter = EVERYBODY
    ) -> Page[AccountSummary]:
        """
        List accounts, a page at a time.

        Args:
            after: What the page before this one gave as ``next``; empty: from the start.
            most: The size of the page, up to ``LARGEST_PAGE``.
            only: Which.
        """
        most = checked_page(most)
        found = await self._office.database.run(list_accounts, after, most + 1, only)
        return page_of(found, most, lambda one: one.address.key)

    async def show(self, address: str) -> AccountSummary:
        """
        Look one up.

        Raises:
            NotFound: There is no such account.
        """
        return await self._office.database.run(get_summary, await self._office.address(address))

    async def add(self, user: NewUser, *, by: str) -> NewLogin:
        """
        Make an account.

        Raises:
            AlreadyThere: Its address is taken.
            NotFound: Its domain is not ours.
        """
        address = await self._office.address(user.address)
        password, made = self._given_or_made(user.password)
        stored = await self._passwords.make(password)
        new = NewAccount(
            address=address,
            hashed=stored.hashed,
            scram=stored.scram,
            display_name=checked_name(user.display_name),
            role=user.role,
            quota_octets=checked_own_quota(user.quota_octets, "octets"),
            quota_messages=checked_own_quota(user.quota_messages, "messages"),
            language=checked_language(user.language),
            enabled=user.enabled,
        )
        record = Record(by, "user add", {"address": str(address), "role": new.role.value})
        await self._office.change_account(record, add_account, self._office.ids, new)
        return NewLogin(address, made)

    async def set_password(self, address: str, password: bytes | None, *, by: str) -> NewLogin:
        """
        Replace a password; without one it is made at random.

        Raises:
            NotFound: There is no such account.
        """
        whose = await self._office.address(address)
        given, made = self._given_or_made(password)
        stored = await self._passwords.make(given)
        record = Record(by, "user passwd", {"address": str(whose)})
        await self._office.change_account(record, set_password, self._office.ids, whose, stored)
        return NewLogin(whose, made)

    async def set_keep(self, address: str, days: int | None, *, by: str) -> Address:
        """
        Say for how many days an inbox keeps its mail; None: for ever.

        Raises:
            NotFound: There is no such account.
        """
        whose = await self._office.address(address)
        record = Record(by, "user keep", {"address": str(whose), "days": checked_keep(days)})
        await self._office.change_account(record, set_keep, whose, days)
        return whose

    async def set(self, change: UserChange, *, by: str) -> Address:
        """
        Change name, language or quotas.

        Raises:
            NotFound: There is no such account.
            CommandError: Nothing would change, or a value is not possible.
        """
        whose, values = await self._office.address(change.address), _columns(change)
        if not values:
            raise CommandError("say what is to be changed, such as --quota 1GiB")
        record = Record(by, "user set", {"address": str(whose), **values})
        await self._office.change_account(record, change_account, whose, values)
        return whose

    async def switch(self, asked: UserSwitch, *, by: str) -> Turned:
        """
        Turn a switch: the whole account, or one front end.

        Raises:
            NotFound: There is no such account.
            CommandError: Nobody who can administrate would be left.
        """
        whose, span = await self._office.address(asked.address), checked_span(asked.span)
        until = None if span is None else datetime.now(UTC) + span
        told = {"address": str(whose), "switch": asked.switch.value, "on": asked.on}
        late = {} if until is None else {"until": until.isoformat(timespec="seconds")}
        await self._office.change_account(
            Record(by, "user switch", {**told, **late}),
            switch_account,
            whose,
            asked.switch,
            on=asked.on,
            until=until,
        )
        return Turned(whose, until)

    async def set_role(self, address: str, role: Role, *, by: str) -> Address:
        """
        Make somebody an administrator, or a user again.

        Raises:
            NotFound: There is no such account.
            CommandError: Nobody who can administrate would be left.
        """
        whose = await self._office.address(address)
        record = Record(by, "user role", {"address": str(whose), "role": role.value})
        await self._office.change_account(record, set_role, whose, role)
        return whose

    async def rename(self, old: str, new: str, *, by: str) -> Address:
        """
        Give an account another address; its mail stays.

        Raises:
            NotFound: There is no such account, or the new domain is not ours.
            AlreadyThere: The new address is taken.
        """
        whose, named = await self._office.address(old), await self._office.address(new)
        record = Record(by, "user rename", {"address": str(whose), "new": str(named)})
        await self._office.change_account(record, rename_account, whose, named)
        return named

    async def approve(self, address: str, *, by: str) -> Address:
        """
        Let somebody in who has registered.

        Raises:
            NotFound: There is no such account.
            CommandError: It does not wait.
        """
        whose = await self._office.address(address)
        record = Record(by, "user approve", {"address": str(whose)})
        await self._office.change_account(record, approve, whose)
        return whose

    async def reject(self, address: str, *, by: str) -> Address:
        """Remove the account of somebody who has registered; errors as for ``approve``."""
        whose = await self._office.address(address)
        record = Record(by, "user reject", {"address": str(whose)})
        await self._office.change_account(record, reject, whose)
        return whose

    async def delete(self, address: str, holds: int | None = None, *, by: str) -> Address:
        """
        Remove an account with all its mail.

        Args:
            holds: The messages that it had when they were saved; None: they need not be.

        Raises:
            NotFound: There is no such account.
            CommandError: Nobody who can administrate would be left, or mail came meanwhile.
        """
        whose = await self._office.address(address)
        record = Record(by, "user delete", {"address": str(whose)})
        await self._office.change_account(record, delete_account, whose, holds)
        return whose

    def _given_or_made(self, password: bytes | None) -> tuple[bytes, str | None]:
        """Give the password to use, and what to show of it."""
        if password is not None:
            return checked_password(password, self._live.current.login.shortest_password), None
        made = make_password()
        return made.encode(), made


def _columns(change: UserChange) -> dict[str, str | int | None]:
    """Give the columns that get another value."""
    values: dict[str, str | int | None] = {}
    if change.display_name is not None:
        values["display_name"] = checked_name(change.display_name)
    if change.language is not None:
        values["language"] = checked_language(change.language)
    quotas = {"quota_octets": change.quota_octets, "quota_messages": change.quota_messages}
    for name, most in quotas.items():
        if most is not None:
            own = None if most == DOMAINS_QUOTA else most
            values[name] = checked_own_quota(own, name.partition("_")[2])
    daily = {"daily_messages": change.daily_messages, "daily_recipients": change.daily_recipients}
    for name, most in daily.items():
        if most is not None:
            values[name] = checked_daily(None if most == DOMAINS_QUOTA else most)
    return values
