"""The daemon's control socket: opened so that only its user and root get in."""

import os
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IReactorTCP,
    IReactorTime,
    IReactorUNIX,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory

from mailsvc.admin.administration import Administration
from mailsvc.control.connection import ControlConnection, House
from mailsvc.errors import StartError
from mailsvc.policy.crowd import Leave
from mailsvc.wire.transport import client_of

MOST_CONNECTIONS = 64
MOST_REMOTE = 32
"""Connections from other machines: those of this one always have room."""
LONGEST_PATH = 103
"""Octets of a socket's path that every system takes; Linux takes 107."""
STOP_LIMIT = 10.0
"""Seconds that commands under way get to end when the daemon stops."""


class ControlFactory(Factory):
    """
    Makes the connections, a limited number of them.

    Args:
        house: What they share.
    """

    noisy = False
    _log = Logger()

    def __init__(self, house: House) -> None:
        self._house = house

    def buildProtocol(self, addr: IAddress | None) -> ControlConnection | None:
        """Take a connection; None, which closes it, when there are too many."""
        del addr
        if len(self._house.connections) >= MOST_CONNECTIONS:
            self._log.warn(
                "{most} control connections are open; refused one more", most=MOST_CONNECTIONS
            )
            return None
        return ControlConnection(self._house)


@dataclass(frozen=True, kw_only=True)
class Remote:
    """
    The port for administrators on other machines.

    Args:
        address: Where it is.
        port: Its number; 0: any.
        certificates: For TLS.
        enter: Counts a connection of a client; None: it has too many, or is kept out.
    """

    address: str
    port: int
    certificates: IOpenSSLServerConnectionCreator
    enter: Callable[[str], Leave | None]


class RemoteFactory(Factory):
    """
    Makes the connections from other machines, a limited number of them.

    Args:
        house: What they share.
        remote: Who may come.
    """

    noisy = False
    _log = Logger()

    def __init__(self, house: House, remote: Remote) -> None:
        self._house = house
        self._remote = remote
        self._open = 0

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Take a connection, or one that is closed at once: below TLS there must be something."""
        client = client_of(cast("IAddress", addr))
        leave = self._remote.enter(client.ip) if self._open < MOST_REMOTE else None
        if leave is None:
            self._log.info("refused {client} at the control channel", client=client.ip)
            return Closed()
        self._open += 1

        def left() -> None:
            self._open -= 1
            leave()

        return ControlConnection(self._house, client, left)


class Closed(Protocol):
    """A connection that nobody wants."""

    def connectionMade(self) -> None:
        """Cut it off: TLS need not even begin."""
        cast("ITCPTransport", self.transport).abortConnection()


class ControlService(Service):
    """
    Listens on the control socket while it runs.

    Start it when the daemon has the user it will keep: the socket belongs to that user.

    Args:
        administration: Does what is asked for.
        path: Where the socket is.
        reactor: Listens, and tells the time.
        mode: Of the socket: who gets to it. Whoever is neither root nor the daemon's user
            may say little there.
        remote: The port for other machines; None: there is none.
    """

    _log = Logger()

    def __init__(
        self,
        administration: Administration,
        path: Path,
        reactor: Any,
        mode: int = 0o600,
        remote: Remote | None = None,
    ) -> None:
        self._path = path
        self._mode = mode
        self._unix: IReactorUNIX = reactor
        self._clock: IReactorTime = reactor
        self._house = House(administration=administration, clock=reactor)
        self._tcp: IReactorTCP = reactor
        self._port: IListeningPort | None = None
        self._remote = remote
        self._remote_port: IListeningPort | None = None

    def startService(self) -> None:
        """
        Open the socket.

        Raises:
            StartError: It cannot be opened; the text says what to do.
        """
        _check_place(self._path)
        remove_stale(self._path)
        # Twisted sets the mode after bind: until then the umask keeps others out.
        before = os.umask(0o177)
        try:
            self._port = self._unix.listenUNIX(
                os.fspath(self._path), ControlFactory(self._house), mode=self._mode
            )
        except CannotListenError as error:
            raise StartError(_cannot(self._path, str(error.socketError))) from None
        finally:
            os.umask(before)
        if self._remote is not None:
            self._open_remote(self._remote)
        super().startService()

    def _open_remote(self, remote: Remote) -> None:
        inside = RemoteFactory(self._house, remote)
        factory: Any = TLSMemoryBIOFactory(
            remote.certificates, isClient=False, wrappedFactory=inside, clock=self._clock
        )
        factory.noisy = False
        try:
            self._remote_port = self._tcp.listenTCP(remote.port, factory, interface=remote.address)
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
            raise StartError(
                f"{remote.address} port {remote.port} cannot be opened for mailctl: {reason}; "
                "change control.remote in config.yaml"
            ) from None
        self._log.info(
            "mailctl of other machines is answered at {address} port {port}",
            address=remote.address,
            port=remote.port,
        )

    def stopService(self) -> "Deferred[None]":
        """Close the socket, let the commands under way end, then hang up."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            await self._shut(port)
        if self._remote_port is not None:
            closing = self._remote_port.stopListening()
            if closing is not None:
                await closing
        await self._house.background.drain_within(self._clock, STOP_LIMIT)
        for connection in tuple(self._house.connections):
            connection.close()

    async def _shut(self, port: IListeningPort) -> None:
        """Close the port; Twisted does so only when there is a file to remove."""
        try:
            self._path.touch(mode=0o600)
            closing = port.stopListening()
            if closing is not None:
                await closing
        except OSError as error:
            self._log.warn("the control socket was not closed: {error}", error=str(error))


def _check_place(path: Path) -> None:
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise StartError(_cannot(path, f"the path is longer than {LONGEST_PATH} octets"))
    if not path.parent.is_dir():
        raise StartError(_cannot(path, f"there is no folder {path.parent}"))


def _cannot(path: Path, why: str) -> str:
    return f"{path}: the control socket cannot be opened: {why}; set control.socket in config.yaml"


def remove_stale(path: Path) -> None:
    """
    Remove a socket that a killed daemon has left.

    Raises:
        StartError: It is no socket, or somebody answers there.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise StartError(f"{path}: the control socket cannot be looked at: {error}") from None
    if not stat.S_ISSOCK(mode):
        raise StartError(
            f"{path}: this is no socket; move it away, or set control.socket in config.yaml"
        )
    if _answers(path):
        raise StartError(
            f"{path}: another mailsvc answers on this control socket; "
            "stop it first, or set control.socket in config.yaml"
        )
    path.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    """Whether a daemon listens there; one whose queue is full does, too."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True
