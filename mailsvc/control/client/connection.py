"""The connection of the client: opens it, sends commands, and says what went wrong."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as NoAnswer
from twisted.internet.endpoints import (
    HostnameEndpoint,
    UNIXClientEndpoint,
    connectProtocol,
)
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.protocols.amp import AMP, AmpError, Command, TooLong
from twisted.protocols.tls import TLSMemoryBIOFactory

from mailsvc.control.client.trust import Remote, trust
from mailsvc.control.commands.base import FEATURES, VERSION, Hello, LogIn
from mailsvc.errors import CommandError, NotReachable, OperatorError
from mailsvc.model.address import Address
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

    async def log_in(self, username: str, password: bytes) -> Address:
        """
        Log in as an administrator; needed from other machines.

        Raises:
            CommandError: User name or password is wrong, or he is no administrator.
        """
        address: Address = (await self.ask(LogIn, username=username, password=password))["address"]
        return address

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
        except (SSL.Error, VerificationError) as error:
            raise NotReachable(_why_no_tls(error)) from None
        except ConnectionClosed:
            raise ControlError(
                "the daemon closed the connection before it answered; look whether it runs: "
                "mailctl status"
            ) from None
        except (AmpError, KeyError, ValueError) as error:
            # Unknown commands and errors, and answers that lack something or say it otherwise.
            raise ControlError(f"the daemon is of another version: {error}") from None


async def open_connection(reactor: Any, place: Path | Remote) -> ControlConnection:
    """
    Open a connection to the daemon and say hello.

    Args:
        reactor: Twisted's; makes the connection and tells the time.
        place: The control socket, or another machine.

    Raises:
        NotReachable: There is no daemon, or it does not let us in.
        ControlError: What answers is no daemon of this version.
        CommandError: The daemon refuses us; the text says why.
    """
    try:
        connection = await _connect(reactor, place)
    except (ConnectError, DNSLookupError) as error:
        raise NotReachable(_why_not(place, error)) from None
    line = ControlConnection(connection, reactor)
    try:
        await line.greet()
    except OperatorError:
        line.close()
        raise
    return line


async def _connect(reactor: Any, place: Path | Remote) -> AMP:
    if isinstance(place, Path):
        here = UNIXClientEndpoint(reactor, str(place), timeout=CONNECT_LIMIT)
        plain: AMP = await connectProtocol(here, AMP())
        return plain
    there = HostnameEndpoint(reactor, place.host, place.port, timeout=CONNECT_LIMIT)
    # Not wrapClientTLS: that one writes when the global reactor has time, and ours is another.
    inside = Factory.forProtocol(AMP)
    inside.noisy = False
    factory: Any = TLSMemoryBIOFactory(
        trust(place), isClient=True, wrappedFactory=inside, clock=reactor
    )
    factory.noisy = False
    made: Any = await there.connect(factory)
    connection: AMP = made.wrappedProtocol
    return connection


def _why_not(path: Path | Remote, error: Exception) -> str:
    if isinstance(path, Remote):
        return f"{path} cannot be reached: {error}; look at control.remote in its config.yaml"
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


def _why_no_tls(error: Exception) -> str:
    """Say why there is no TLS with a daemon."""
    reason = "it is for another name" if isinstance(error, VerificationError) else "no TLS"
    if isinstance(error, SSL.Error) and error.args and error.args[0]:
        reason = str(error.args[0][-1][-1])
    if isinstance(error, SSL.Error) and "certificate" not in reason:
        return f"what answers there is no mailsvc ({reason}); look at control.remote"
    return (
        f"the daemon's certificate is not trusted ({reason}): give --ca, or the --fingerprint"
        ' that "mailctl status" shows on the server'
    )
