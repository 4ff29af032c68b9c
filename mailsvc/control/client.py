"""The other end of the control channel, for mailctl and for programs of administrators."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as NoAnswer
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IReactorTime
from twisted.protocols.amp import AMP, AmpError, Command, TooLong

from mailsvc.admin.values import LARGEST_PAGE, AccountPage, NewLogin, NewUser, ServiceStatus
from mailsvc.control.commands import (
    FEATURES,
    VERSION,
    Hello,
    ServiceStart,
    ServiceStop,
    Status,
    UserAdd,
    UserDelete,
    UserKeep,
    UserList,
    UserPassword,
)
from mailsvc.errors import CommandError, NotReachable, OperatorError
from mailsvc.model.account import AccountSummary, Role, Scope
from mailsvc.model.address import Address, parse_address
from mailsvc.model.ids import AccountId
from mailsvc.model.listener import ListenerState

CONNECT_LIMIT = 5.0
"""Seconds until a daemon must have answered ``Hello``."""
ANSWER_LIMIT = 75.0
"""Seconds until a command must have been answered; the daemon gives up before."""


class ControlError(OperatorError):
    """The daemon did not answer as it should; what became of the command is not known."""


class ControlClient:
    """
    A connection to the daemon.

    Its methods raise ``CommandError`` when the daemon refuses, its subclasses ``NotFound``
    and ``AlreadyThere`` where they say more, and ``ControlError`` when there is no answer.

    Args:
        connection: Open; ``greet`` comes first.
        clock: For time limits.
    """

    def __init__(self, connection: AMP, clock: IReactorTime) -> None:
        self._connection = connection
        self._clock = clock

    async def greet(self) -> None:
        """
        Say hello.

        Raises:
            ControlError: There is no answer.
            CommandError: The daemon is of another version, or we are not its administrator.
        """
        features = list(FEATURES)
        await self._ask(Hello, CONNECT_LIMIT, version=VERSION, features=features)

    async def status(self) -> ServiceStatus:
        """Tell how the daemon is."""
        found = await self._ask(Status)
        return ServiceStatus(
            **{
                **found,
                "uptime": timedelta(microseconds=found["uptime"]),
                "listeners": tuple(ListenerState(**one) for one in found["listeners"]),
            }
        )

    async def add_user(self, user: NewUser) -> NewLogin:
        """Make an account."""
        return _login(
            await self._ask(
                UserAdd,
                address=user.address,
                password=user.password,
                display_name=user.display_name,
                role=user.role.value,
                quota_octets=user.quota_octets,
                quota_messages=user.quota_messages,
            )
        )

    async def list_users(self, after: str = "", most: int = LARGEST_PAGE) -> AccountPage:
        """
        List accounts, a page at a time.

        Args:
            after: What the page before this one gave as ``next``; empty: from the start.
            most: Accounts in the page; there may be fewer though it is not the last one.
        """
        found = await self._ask(UserList, after=after, most=most)
        return AccountPage(tuple(_account(one) for one in found["accounts"]), found["next"])

    async def set_password(self, address: str, password: bytes | None) -> NewLogin:
        """Replace a password; without one it is made at random."""
        return _login(await self._ask(UserPassword, address=address, password=password))

    async def set_keep(self, address: str, days: int | None) -> Address:
        """Say for how many days an inbox keeps its mail; None: for ever."""
        found = await self._ask(UserKeep, address=address, days=days)
        return parse_address(found["address"], utf8=True)

    async def delete_user(self, address: str) -> Address:
        """Remove an account with all its mail."""
        found = await self._ask(UserDelete, address=address)
        return parse_address(found["address"], utf8=True)

    async def set_service(self, service: str, *, running: bool) -> None:
        """Start or stop ``smtp`` or ``pop3``, for now and for the next start of the daemon."""
        await self._ask(ServiceStart if running else ServiceStop, service=service)

    def close(self) -> None:
        """Hang up."""
        if self._connection.transport is not None:
            self._connection.transport.loseConnection()

    async def _ask(
        self, command: type[Command], limit: float = ANSWER_LIMIT, **arguments: Any
    ) -> Mapping[str, Any]:
        """Send one command and wait for its answer."""
        try:
            asked: Deferred[Mapping[str, Any]] = self._connection.callRemote(command, **arguments)
            return await asked.addTimeout(limit, self._clock)
        except TooLong as error:
            name = (error.keyName or b"").decode()
            raise CommandError(f"{name} is too long: 65535 octets at most") from None
        except NoAnswer:
            raise ControlError(
                f"the daemon did not answer within {limit:.0f} seconds; look into its log"
            ) from None
        except ConnectionClosed:
            raise ControlError(
                "the daemon closed the connection before it answered; look whether it runs: "
                "mailctl status"
            ) from None
        except (AmpError, KeyError, ValueError) as error:
            # Unknown commands and errors, and answers that lack something or say it otherwise.
            raise ControlError(f"the daemon is of another version: {error}") from None


async def connect(reactor: Any, path: Path) -> ControlClient:
    """
    Open a connection to the daemon and say hello.

    Args:
        reactor: Twisted's; makes the connection and tells the time.
        path: The control socket.

    Raises:
        NotReachable: There is no daemon, or it does not let us in.
        ControlError: What answers is no daemon of this version.
        CommandError: The daemon refuses us; the text says why.
    """
    endpoint = UNIXClientEndpoint(reactor, str(path), timeout=CONNECT_LIMIT)
    try:
        connection = await connectProtocol(endpoint, AMP())
    except ConnectError as error:
        raise NotReachable(_why_not(path, error)) from None
    client = ControlClient(connection, reactor)
    try:
        await client.greet()
    except OperatorError:
        client.close()
        raise
    return client


def _why_not(path: Path, error: ConnectError) -> str:
    start = "start it with: twistd mailsvc -c config.yaml"
    try:
        there = path.exists()
    except OSError:
        there = True
    if not there:
        return f"mailsvc is not running (no socket at {path}): {start}"
    reason = str(error)
    if "refused" in reason.lower():
        return f"mailsvc is not running (nobody answers at {path}): {start}"
    return f"{path}: {reason}; run mailctl as the user of the daemon, or as root"


def _login(found: Mapping[str, Any]) -> NewLogin:
    return NewLogin(parse_address(found["address"], utf8=True), found["password"])


def _account(row: Mapping[str, Any]) -> AccountSummary:
    return AccountSummary(
        **{
            **row,
            "id": AccountId(row["id"]),
            "address": parse_address(row["address"], utf8=True),
            "role": Role(row["role"]),
            "scopes": frozenset(Scope(scope) for scope in row["scopes"]),
            "created": _utc(row["created"]),
            "last_login": _utc(row["last_login"]),
        }
    )


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)
