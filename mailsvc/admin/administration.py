"""The commands of an administrator; who asks, and whether he may, is the front end's matter."""

import os
from datetime import timedelta
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailsvc.admin.rules import (
    checked_keep,
    checked_name,
    checked_page,
    checked_password,
    checked_quota,
    checked_service,
    parsed_address,
)
from mailsvc.admin.values import AccountPage, NewLogin, NewUser, ServiceStatus
from mailsvc.auth.passwords import Passwords, make_password
from mailsvc.errors import CommandError, MailError, NotFound
from mailsvc.interfaces import ISwitchboard
from mailsvc.model.address import Address
from mailsvc.store.accounts import NewAccount, list_accounts
from mailsvc.store.changes import (
    add_user,
    change_keep,
    change_password,
    remove_user,
    switch_service,
)
from mailsvc.store.database import Database, Query
from mailsvc.store.directory import Directory
from mailsvc.store.overview import NOTHING_SEEN, Overview, overview

_PATIENCE = 5.0
"""Seconds that a status waits for the database: it is asked for when something is wrong."""

P = ParamSpec("P")
Result = TypeVar("Result")


class Administration:
    """
    Does what an administrator asks for and notes it in the trail.

    Every method may raise ``CommandError``, whose text says what to do, and ``MailError``
    when the database does not take it; nothing was changed then. *by* is who asked: text
    for the trail.

    Args:
        database: Where accounts and settings are.
        directory: Told of every change.
        passwords: Makes verifiers.
        switchboard: Opens and closes the listeners.
        clock: Tells the uptime, which begins now.
        hostname: The name of this service in greetings.
        version: Of mailsvc.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        database: Database,
        directory: Directory,
        passwords: Passwords,
        switchboard: ISwitchboard,
        clock: IReactorTime,
        hostname: str,
        version: str,
    ) -> None:
        self._database = database
        self._directory = directory
        self._passwords = passwords
        self._switchboard = switchboard
        self._clock = clock
        self._hostname = hostname
        self.version = version
        self._started = clock.seconds()
        self._switching = DeferredLock()

    async def status(self) -> ServiceStatus:
        """Tell how the service is; answers without the database, too."""
        seen, fault = await self._look()
        return ServiceStatus(
            version=self.version,
            hostname=self._hostname,
            pid=os.getpid(),
            uptime=timedelta(seconds=self._clock.seconds() - self._started),
            fault=fault,
            engine=seen.engine,
            revision=seen.revision,
            domains=seen.domains,
            accounts=seen.accounts,
            waiting=self._database.waiting,
            listeners=tuple(self._switchboard.listeners()),
        )

    async def _look(self) -> tuple[Overview, str | None]:
        """Ask the database, or say why it does not answer."""
        asked = Deferred.fromCoroutine(self._database.run(overview))
        try:
            return await asked.addTimeout(_PATIENCE, self._clock), None
        except TookTooLong:
            return NOTHING_SEEN, f"no answer within {_PATIENCE:.0f} seconds"
        except MailError as error:
            return NOTHING_SEEN, str(error)

    async def list_users(self, after: str, most: int) -> AccountPage:
        """
        List accounts, a page at a time.

        Args:
            after: What the page before this one gave as ``next``; empty: from the start.
            most: The size of the page, up to ``LARGEST_PAGE``.
        """
        most = checked_page(most)
        found = await self._database.run(list_accounts, after, most + 1)
        page = tuple(found[:most])
        return AccountPage(page, page[-1].address.key if len(found) > most else None)

    async def add_user(self, user: NewUser, *, by: str) -> NewLogin:
        """
        Make an account.

        Raises:
            AlreadyThere: Its address is taken.
            NotFound: Its domain is not ours.
        """
        address = await self._address(user.address)
        password, made = _given_or_made(user.password)
        stored = await self._passwords.make(password)
        new = NewAccount(
            address=address,
            hashed=stored.hashed,
            scram=stored.scram,
            display_name=checked_name(user.display_name),
            role=user.role,
            quota_octets=checked_quota(user.quota_octets, "octets"),
            quota_messages=checked_quota(user.quota_messages, "messages"),
        )
        await self._change(add_user, self._database.ids, new, by)
        self._log.info("{by} made the account {address}", by=by, address=str(address))
        return NewLogin(address, made)

    async def set_password(self, address: str, password: bytes | None, *, by: str) -> NewLogin:
        """
        Replace a password; without one it is made at random.

        Raises:
            NotFound: There is no such account.
        """
        whose = await self._address(address)
        given, made = _given_or_made(password)
        stored = await self._passwords.make(given)
        await self._change(change_password, self._database.ids, whose, stored, by)
        self._log.info("{by} changed the password of {address}", by=by, address=str(whose))
        return NewLogin(whose, made)

    async def set_keep(self, address: str, days: int | None, *, by: str) -> Address:
        """
        Say for how many days an inbox keeps its mail; None: for ever.

        Raises:
            NotFound: There is no such account.
        """
        whose = await self._address(address)
        await self._change(change_keep, self._database.ids, whose, checked_keep(days), by)
        self._log.info(
            "{by} set how long {address} keeps its mail: {days} days",
            by=by,
            address=str(whose),
            days=days or "all",
        )
        return whose

    async def delete_user(self, address: str, *, by: str) -> Address:
        """
        Remove an account with all its mail.

        Raises:
            NotFound: There is no such account.
        """
        whose = await self._address(address)
        await self._change(remove_user, self._database.ids, whose, by)
        self._log.info("{by} deleted the account {address}", by=by, address=str(whose))
        return whose

    async def set_service(self, service: str, *, running: bool, by: str) -> None:
        """
        Start or stop ``smtp`` or ``pop3``, for now and for the next start of the daemon.

        Raises:
            NotFound: There is no such service, or config.yaml has no listener for it.
            CommandError: A port cannot be opened.
        """
        service = checked_service(service)
        if not any(one.service == service for one in self._switchboard.listeners()):
            raise NotFound(
                f"config.yaml has no listener for {service}; add one and start the daemon again"
            )
        async with self._switching:
            await (self._start(service, by) if running else self._stop(service, by))
        done = "started" if running else "stopped"
        self._log.info("{by} {done} {service}", by=by, done=done, service=service)

    async def _start(self, service: str, by: str) -> None:
        """Open first: what cannot be opened is not remembered as running."""
        ran = any(one.running for one in self._switchboard.listeners() if one.service == service)
        try:
            await self._switchboard.start(service)
            await self._remember(service, by, running=True)
        except (CommandError, MailError):
            if not ran:
                await self._switchboard.stop(service)
            raise

    async def _stop(self, service: str, by: str) -> None:
        """Remember first: only that can fail."""
        await self._remember(service, by, running=False)
        await self._switchboard.stop(service)

    async def _remember(self, service: str, by: str, *, running: bool) -> None:
        ids = self._database.ids
        await self._database.write(switch_service, ids, service, running=running, by=by)

    async def _change(
        self, query: Query[P, Result], /, *args: P.args, **kwargs: P.kwargs
    ) -> Result:
        """Change accounts; the directory forgets even when the outcome is not known."""
        try:
            return await self._database.write(query, *args, **kwargs)
        finally:
            self._directory.forget()

    async def _address(self, text: str) -> Address:
        """Read an address; one without a domain belongs to the first domain."""
        if "@" in text:
            return parsed_address(text)
        home = await self._directory.home()
        if home is None:
            raise CommandError("there is no domain yet; write the whole address")
        return parsed_address(f"{text}@{home}")


def _given_or_made(password: bytes | None) -> tuple[bytes, str | None]:
    """Give the password to use, and what to show of it."""
    if password is not None:
        return checked_password(password), None
    made = make_password()
    return made.encode(), made
