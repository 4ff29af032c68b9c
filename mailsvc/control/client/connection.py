"""The connection of the client: opens it, sends commands, and says what went wrong."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as NoAnswer
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.protocols.amp import AMP, AmpError, Command, TooLong

from mailsvc.control.commands.base import FEATURES, VERSION, Hello
from mailsvc.errors import CommandError, NotReachable, OperatorError
from mailsvc.model.page import Page

CONNECT_LIMIT = 5.0
"""Seconds until a daemon must have answered ``Hello``."""
ANSWER_LIMIT = 75.0
"""Seconds until a command must have been answered; the daemon gives up before."""


class ControlError(OperatorError):
    """The daemon did not answer as it should; what became of the command is not known."""


class ControlConnection:
    """
    One open connection to the daemon; every topic of the client asks over it.

    Args:
        connection: Open.
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
        await self.ask(Hello, CONNECT_LIMIT, version=VERSION, features=features)

    def close(self) -> None:
        """Hang up."""
        if self._connection.transport is not None:
            self._connection.transport.loseConnection()

    async def pause(self, seconds: float) -> None:
        """Wait before the next question."""
        waited: Deferred[None] = deferLater(self._clock, seconds)
        await waited

    async def page(
        self, command: type[Command], after: str, most: int, **arguments: Any
    ) -> Page[Any]:
        """Ask for one page of a list."""
        found = await self.ask(command, after=after, most=most, **arguments)
        return Page(found["rows"], found["next"])

    async def ask(
        self, command: type[Command], limit: float = ANSWER_LIMIT, **arguments: Any
    ) -> Mapping[str, Any]:
        """
        Send one command and wait for its answer.

        Raises:
            CommandError: The daemon refuses; ``NotFound`` and ``AlreadyThere`` say more.
            ControlError: There is no answer.
        """
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


async def open_connection(reactor: Any, path: Path) -> ControlConnection:
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
    line = ControlConnection(connection, reactor)
    try:
        await line.greet()
    except OperatorError:
        line.close()
        raise
    return line


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
