"""The daemon's control socket: opened so that only its user and root get in."""

import contextlib
import os
import socket
import stat
from pathlib import Path
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IReactorTime,
    IReactorUNIX,
)
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from mailsvc.admin.administration import Administration
from mailsvc.control.connection import ControlConnection, House
from mailsvc.errors import StartError

MOST_CONNECTIONS = 64
STOP_LIMIT = 10.0
"""Seconds that commands under way get to end when the daemon stops."""


class ControlReactor(IReactorUNIX, IReactorTime, Protocol):
    """What the control channel needs of a reactor."""


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
            self._log.warn("{most} control connections are open; refused one more", most=MOST_CONNECTIONS)
            return None
        return ControlConnection(self._house)


class ControlService(Service):
    """
    Listens on the control socket while it runs.

    Start it when the daemon has the user it will keep: the socket belongs to that user.

    Args:
        administration: Does what is asked for.
        path: Where the socket is.
        reactor: Listens, and tells the time.
    """

    _log = Logger()

    def __init__(
        self, administration: Administration, path: Path, reactor: ControlReactor
    ) -> None:
        self._path = path
        self._reactor = reactor
        self._house = House(administration=administration, clock=reactor)
        self._port: IListeningPort | None = None

    def startService(self) -> None:
        """
        Open the socket.

        Raises:
            StartError: It cannot be opened; the text says what to do.
        """
        remove_stale(self._path)
        # Between bind and chmod the socket would be open to all.
        before = os.umask(0o177)
        try:
            self._port = self._reactor.listenUNIX(
                os.fspath(self._path), ControlFactory(self._house), mode=0o600
            )
        except CannotListenError as error:
            raise StartError(
                f"{self._path}: the control socket cannot be opened: "
                f"{_reason(error)}; set control.socket in config.yaml"
            ) from None
        finally:
            os.umask(before)
        super().startService()

    def stopService(self) -> "Deferred[None]":
        """Close the socket, let the commands under way end, then hang up."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            # The file may be gone: somebody emptied the state folder.
            with contextlib.suppress(FileNotFoundError):
                await _as_deferred(port.stopListening())
        drained = Deferred.fromCoroutine(self._house.background.drain())
        try:
            await drained.addTimeout(STOP_LIMIT, self._reactor)
        except TimeoutError:
            self._log.warn("control commands were still running at the stop; cut off")
            self._house.background.cancel()
        for connection in tuple(self._house.connections):
            connection.close()
