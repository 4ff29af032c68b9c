"""The ports: open and close them, and end their sessions in order."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from zope.interface import implementer

from mailsvc.background import Background
from mailsvc.config.settings import Kind, ListenerSettings, Settings
from mailsvc.errors import CommandError, NotFound, StartError
from mailsvc.interfaces import ISwitchboard
from mailsvc.model.account import Scope
from mailsvc.model.listener import ListenerState
from mailsvc.model.session import Ending, SessionState, Visit
from mailsvc.model.switch import Switch
from mailsvc.wire.entrance import Entrance
from mailsvc.wire.prompt import PromptPort

BACKLOG = 1024
"""Connections that the kernel keeps for us while we are busy."""


class MailSession(Protocol):
    """What a listener needs of a connection."""

    def visit(self) -> Visit:
        """Tell who is there."""

    def end(self, why: Ending) -> None:
        """End it as soon as what it has under way is answered."""


class MailFactory(Protocol):
    """What a listener needs of a factory of ours."""

    background: Background
    entrance: Entrance
    sessions: set[Any]
    """Of ``MailSession``."""

    def interrupt(self) -> None:
        """End its sessions as soon as what they have under way is answered."""

    def use(self, settings: Settings) -> None:
        """Hold to other settings from now on, in open sessions, too."""


@dataclass
class _Listener:
    """One port and the sessions that came through it."""

    name: str
    settings: ListenerSettings
    factory: MailFactory
    wanted: Switch = field(default_factory=Switch)
    port: IListeningPort | None = None
    number: int = field(init=False)

    def __post_init__(self) -> None:
        self.number = self.settings.port

    def state(self) -> ListenerState:
        return ListenerState(
            name=self.name,
            kind=self.settings.kind.value,
            service=self.settings.kind.service,
            address=self.settings.address,
            port=self.number,
            running=self.port is not None,
            sessions=len(self.factory.sessions),
            tls=self.settings.tls.value,
            until=self.wanted.until,
        )


@implementer(ISwitchboard)
class Listeners:
    """
    All ports of the service.

    Args:
        reactor: Opens them.
        settings: By name.
        make: Makes what answers at a listener.
        entrance: Makes what comes before the greeting there.
        patience: Seconds that sessions get to end.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Mapping[str, ListenerSettings],
        make: Callable[[ListenerSettings], MailFactory],
        entrance: Callable[[ListenerSettings], Entrance],
        patience: float,
    ) -> None:
        self._reactor = reactor
        self._make = make
        self._entrance = entrance
        self._patience = patience
        self._listeners = {name: _Listener(name, one, make(one)) for name, one in settings.items()}

    def open_all(self) -> None:
        """
        Open every port; before privileges are dropped and before the reactor runs.

        What cannot be opened is tried again by ``check``: an administrator may have moved it.
        """
        for listener in self._listeners.values():
            with suppress(CommandError):
                self._open(listener)

    def check(self, settings: Mapping[str, ListenerSettings]) -> None:
        """
        Open what should be open and is not; before the reactor runs.

        Args:
            settings: Where an administrator wants them, by name.

        Raises:
            StartError: One of them cannot be opened; the text says why.
        """
        for name, listener in self._listeners.items():
            if listener.port is not None or not listener.wanted.running or name not in settings:
                continue
            listener.settings, listener.number = settings[name], settings[name].port
            try:
                self._open(listener)
            except CommandError as error:
                raise StartError(str(error)) from None

    def use(self, settings: Settings) -> None:
        """Hold to other settings from now on, in open sessions, too."""
        self._patience = settings.limits.stop_timeout
        for listener in self._listeners.values():
            listener.factory.use(settings)
            listener.factory.entrance = self._entrance(listener.settings)

    def count_sessions(self) -> int:
        """Count the open sessions of all listeners."""
        return sum(len(one.factory.sessions) for one in self._listeners.values())

    def has_mail_port(self, port: int) -> bool:
        """Tell whether a listener that takes mail has a port."""
        return any(
            one.port is not None and one.number == port and one.settings.kind is not Kind.POP3
            for one in self._listeners.values()
        )

    def listeners(self) -> Sequence[ListenerState]:
        """Tell the state of every listener."""
        return [listener.state() for listener in self._listeners.values()]

    def sessions(self) -> Sequence[SessionState]:
        """Tell every open session."""
        now = self._reactor.seconds()
        return [_state(listener, one.visit(), now) for listener, one in self._open_sessions()]

    def visits(self) -> Iterator[tuple[Scope, Visit]]:
        """Give all sessions, each with the switch of an account that its login needs."""
        for listener, one in self._open_sessions():
            yield Scope(listener.settings.kind.service), one.visit()

    def end(self, numbers: Sequence[int], why: Ending) -> None:
        """End some sessions, as soon as what each has under way is answered."""
        wanted = frozenset(numbers)
        if wanted:
            for _, one in tuple(self._open_sessions()):
                if one.visit().number in wanted:
                    one.end(why)

    def _open_sessions(self) -> Iterator[tuple[_Listener, MailSession]]:
        for listener in self._listeners.values():
            for one in listener.factory.sessions:
                yield listener, one

    async def switch(self, switches: Mapping[str, Switch]) -> None:
        """Open or close listeners; those that are as they should be stay so."""
        closing: list[_Listener] = []
        for name, wanted in switches.items():
            listener = self._find(name)
            if wanted.running:
                self._open(listener)
            elif listener.port is not None:
                closing.append(listener)
            listener.wanted = wanted
        await self._close(closing)

    async def close_all(self) -> None:
        """Close every port and end every session, in order."""
        await self._close(list(self._listeners.values()))

    @asynccontextmanager
    async def trying(self, settings: Mapping[str, ListenerSettings]) -> AsyncIterator[None]:
        """
        Move listeners, add some and remove some, when what is done meanwhile succeeds.

        A listener that moves takes connections at its new place first; its sessions stay.

        Raises:
            CommandError: A port cannot be opened; everything is as it was.
        """
        moves = [
            _Move(self._listeners.get(name), self._planned(name, one))
            for name, one in settings.items()
            if name not in self._listeners or self._listeners[name].settings != one
        ]
        try:
            for move in moves:
                await self._try(move)
            yield
        except BaseException:
            for move in moves:
                await self._undo(move)
            raise
        for move in moves:
            await self._settle(move)
        gone = [one for name, one in self._listeners.items() if name not in settings]
        new = {move.new.name: move.new for move in moves if move.old is None}
        self._listeners = {
            name: new[name] if name in new else self._listeners[name] for name in settings
        }
        await self._close(gone)

    def _planned(self, name: str, settings: ListenerSettings) -> _Listener:
        old = self._listeners.get(name)
        if old is None:
            return _Listener(name, settings, self._make(settings))
        if old.settings.kind is not settings.kind:
            raise CommandError(
                f"listeners.{name}.kind: a listener keeps its kind while the daemon runs; add"
                " one with another name"
            )
        return _Listener(name, settings, old.factory, old.wanted)

    async def _try(self, move: "_Move") -> None:
        """Open the new place; where the old one is in the way, that is closed first."""
        old, new = move.old, move.new
        if old is None:
            self._open(new)
        elif not move.stays and old.port is not None:
            if old.number == new.number:
                await _stop(old.port)
                move.closed = True
            self._open(new)

    async def _undo(self, move: "_Move") -> None:
        """Leave everything as it was."""
        if move.new.port is not None:
            await _stop(move.new.port)
        if move.old is not None and move.closed:
            move.old.port = None
            self._open(move.old)

    async def _settle(self, move: "_Move") -> None:
        """Make the new place the only one."""
        old, new = move.old, move.new
        if old is None:
            return
        if not move.stays:
            if old.port is not None and not move.closed:
                await _stop(old.port)
            old.port, old.number = new.port, new.number
        old.settings = new.settings

    def _find(self, name: str) -> _Listener:
        if name not in self._listeners:
            raise NotFound(f"there is no listener {name}; see: mailctl service list")
        return self._listeners[name]

    def _open(self, listener: _Listener) -> None:
        if listener.port is not None:
            return
        name, address = listener.name, listener.settings.address
        try:
            port = PromptPort(
                listener.number, _as_factory(listener.factory), BACKLOG, address, self._reactor
            )
            port.startListening()
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
            raise CommandError(
                f"{address} port {listener.number} cannot be opened for {name}: {reason}; "
                f"end the program that has it, or change listeners.{name}"
            ) from None
        listener.port = port
        listener.number = port.getHost().port
        self._log.info(
            "{name} listens on {address} port {port}",
            name=name,
            address=address,
            port=listener.number,
        )

    async def _close(self, listeners: Sequence[_Listener]) -> None:
        for listener in listeners:
            port, listener.port = listener.port, None
            if port is not None:
                await _stop(port)
        for listener in listeners:
            listener.factory.interrupt()
        # Together: the patience is one, however many listeners there are.
        waits = [
            Deferred.fromCoroutine(
                listener.factory.background.drain_within(self._reactor, self._patience)
            )
            for listener in listeners
        ]
        await gatherResults(waits)


@dataclass
class _Move:
    """One listener as it was, None: there was none, and as it shall be."""

    old: _Listener | None
    new: _Listener
    closed: bool = False
    """Whether the old place had to be closed first."""

    @property
    def stays(self) -> bool:
        """Whether address and port stay."""
        if self.old is None:
            return False
        was, shall = self.old.settings, self.new.settings
        return (was.address, was.port) == (shall.address, shall.port)


async def _stop(port: IListeningPort) -> None:
    closing = port.stopListening()
    if closing is not None:
        await closing


def _state(listener: _Listener, visit: Visit, now: float) -> SessionState:
    client, account = visit.client, visit.account
    return SessionState(
        number=visit.number,
        listener=listener.name,
        service=listener.settings.kind.service,
        client="" if client is None else client.ip,
        port=0 if client is None else client.port,
        user="" if account is None else str(account.address),
        secure=visit.secure,
        age=timedelta(seconds=round(now - visit.began, 3)),
    )


def _as_factory(factory: MailFactory) -> ServerFactory:
    """Say to the type checker what every factory of ours is."""
    assert isinstance(factory, ServerFactory)  # noqa: S101 - says what is true by construction
    return factory
