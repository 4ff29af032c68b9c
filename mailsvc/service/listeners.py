"""The ports: open and close them, and end their sessions in order."""

from collections.abc import Iterator, Mapping, Sequence
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
from mailsvc.config.settings import ListenerSettings
from mailsvc.errors import CommandError, NotFound, StartError
from mailsvc.interfaces import ISwitchboard
from mailsvc.model.account import Scope
from mailsvc.model.listener import ListenerState
from mailsvc.model.session import Ending, SessionState, Visit
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
    sessions: set[Any]
    """Of ``MailSession``."""

    def interrupt(self) -> None:
        """End its sessions as soon as what they have under way is answered."""


@dataclass
class _Listener:
    """One port and the sessions that came through it."""

    name: str
    settings: ListenerSettings
    factory: MailFactory
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
        )


@implementer(ISwitchboard)
class Listeners:
    """
    All ports of the service.

    Args:
        reactor: Opens them.
        settings: By name.
        factories: By name; what answers there.
        patience: Seconds that sessions get to end.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Mapping[str, ListenerSettings],
        factories: Mapping[str, MailFactory],
        patience: float,
    ) -> None:
        self._reactor = reactor
        self._patience = patience
        self._listeners = [_Listener(name, one, factories[name]) for name, one in settings.items()]

    def open_all(self) -> None:
        """
        Open every port; before privileges are dropped and before the reactor runs.

        Raises:
            StartError: One of them cannot be opened; the text says why.
        """
        for listener in self._listeners:
            try:
                self._open(listener)
            except CommandError as error:
                raise StartError(str(error)) from None

    def listeners(self) -> Sequence[ListenerState]:
        """Tell the state of every listener."""
        return [listener.state() for listener in self._listeners]

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
        for listener in self._listeners:
            for one in listener.factory.sessions:
                yield listener, one

    async def start(self, service: str) -> None:
        """Open the listeners of a service."""
        for listener in self._of(service):
            self._open(listener)

    async def stop(self, service: str) -> None:
        """Close the listeners of a service and end its sessions."""
        await self._close(self._of(service))

    async def close_all(self) -> None:
        """Close every port and end every session, in order."""
        await self._close(self._listeners)

    def _of(self, service: str) -> list[_Listener]:
        found = [one for one in self._listeners if one.settings.kind.service == service]
        if not found:
            raise NotFound(f"config.yaml has no listener for {service}; there are smtp and pop3")
        return found

    def _open(self, listener: _Listener) -> None:
        if listener.port is not None:
            return
        place = f"{listener.settings.address} port {listener.number}"
        try:
            port = PromptPort(
                listener.number,
                _as_factory(listener.factory),
                BACKLOG,
                listener.settings.address,
                self._reactor,
            )
            port.startListening()
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
            raise CommandError(
                f"{place} cannot be opened for {listener.name}: {reason}; "
                f"end the program that has it, or change listeners.{listener.name} in config.yaml"
            ) from None
        listener.port = port
        listener.number = port.getHost().port
        self._log.info(
            "{name} listens on {address} port {port}",
            name=listener.name,
            address=listener.settings.address,
            port=listener.number,
        )

    async def _close(self, listeners: Sequence[_Listener]) -> None:
        for listener in listeners:
            port, listener.port = listener.port, None
            if port is not None:
                closing = port.stopListening()
                if closing is not None:
                    await closing
        for listener in listeners:
            listener.factory.interrupt()
        # Together: the patience is one, however many listeners there are.
        waits = [Deferred.fromCoroutine(self._wait_for(listener)) for listener in listeners]
        await gatherResults(waits)

    async def _wait_for(self, listener: _Listener) -> None:
        """Wait until the conversations have ended; in the end, cancel what is left."""
        ended = Deferred.fromCoroutine(listener.factory.background.drain())
        late = self._reactor.callLater(self._patience, listener.factory.background.cancel)
        try:
            await ended
        finally:
            if late.active():
                late.cancel()


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
