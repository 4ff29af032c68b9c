"""The daemon's end of the control channel: one connection, and who may open it."""

import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport, ITransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.amp import (
    AMP,
    ASK,
    COMMAND,
    AmpBox,
    BinaryBoxProtocol,
    Command,
    RemoteAmpError,
)
from twisted.python.failure import Failure

from mailsvc.admin.administration import Administration
from mailsvc.background import Background
from mailsvc.control.answers import ANSWERS
from mailsvc.control.answers.base import Asked, answer_box
from mailsvc.control.commands.base import (
    ERRORS,
    FATAL_ERRORS,
    FEATURES,
    VERSION,
    Fault,
    Forbidden,
    Hello,
    LogIn,
    Misunderstood,
    TookTooLong,
    Unavailable,
    WrongVersion,
)
from mailsvc.control.commands.registration import PUBLIC
from mailsvc.errors import CommandError, MailError
from mailsvc.model.account import Account
from mailsvc.model.envelope import Client
from mailsvc.policy.crowd import nothing

COMMAND_LIMIT = 60.0
"""Seconds until a command is answered: a service stops in ``limits.stop_timeout``."""
HELLO_LIMIT = 30.0
"""Seconds until a connection without ``Hello`` is closed."""
IDLE_LIMIT = 3600.0
"""Seconds until an administrator from afar who asks for nothing is logged out."""
CLOSE_LIMIT = 5.0
"""Seconds until the other end of TLS must have said good-bye."""
MOST_RUNNING = 16
"""Commands of one connection at the same time; the next ones wait unread."""
MOST_KEYS = 64
"""In one box."""
MOST_OF_STRANGERS = 12
"""As before, from another machine without a login: a value has up to 64 KiB."""
_LONGEST_TEXT = 2000
"""Characters of an error."""

PeerUid = Callable[[Any], int | None]
"""Tells who is at the other end of a transport; None: the system does not say."""


def peer_uid(transport: Any) -> int | None:
    """Ask the kernel who opened a UNIX socket; on systems that do not say, its mode guards it."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    layout = struct.Struct("3i")
    found = transport.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size)
    return int(layout.unpack(found)[1])


_KINDS: tuple[type[Command], ...] = (Hello, LogIn, *ANSWERS)
_COMMANDS = {command.commandName: command for command in _KINDS}
_FOR_ALL = frozenset({Hello, LogIn, *PUBLIC})
"""Commands that nobody need be an administrator for."""
_ERRORS = {**ERRORS, **FATAL_ERRORS}


@dataclass(frozen=True, kw_only=True)
class House:
    """
    What all connections share.

    Args:
        administration: Does what is asked for.
        clock: For time limits.
        background: Owns the commands under way.
        connections: The open ones.
        peer_uid: Tells who opened one.
        most_failures: Failed logins of one connection before it is closed.
    """

    administration: Administration
    clock: IReactorTime
    background: Background = field(default_factory=Background)
    connections: set["ControlConnection"] = field(default_factory=set)
    peer_uid: PeerUid = peer_uid
    most_failures: int = 3


class ControlConnection(AMP):
    """
    One connection of an administrator.

    AMP closes a connection on any error that a command did not declare, on arguments that
    it cannot read and on answers that are too large; it has no time-outs and reads without
    end. So nothing of ours raises into it: ``_answer`` catches all.

    Args:
        house: What it shares with the others.
        remote: Where it comes from, by TLS; None: from this machine, by the socket.
        leave: Called at its end.
    """

    _log = Logger()

    def __init__(
        self, house: House, remote: Client | None = None, leave: Callable[[], None] = nothing
    ) -> None:
        super().__init__()
        self._house = house
        self._remote = remote
        self._leave = leave
        self._uid: int | None = None
        self._login: Account | None = None
        self._failures = 0
        self._greeted = False
        self._running = 0
        self._closed = False
        self._deadline: IDelayedCall | None = None

    def makeConnection(self, transport: ITransport) -> None:
        """Begin without AMP's line in the log: a monitor runs mailctl each minute."""
        BinaryBoxProtocol.makeConnection(self, transport)

    def connectionMade(self) -> None:
        """Find out who it is, and wait for ``Hello``."""
        self._house.connections.add(self)
        if self._remote is None:
            self._uid = self._house.peer_uid(self.transport)
        self._deadline = self._house.clock.callLater(HELLO_LIMIT, self.close)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget it; commands under way go on."""
        self._closed = self.paused = True
        self._house.connections.discard(self)
        self._leave()
        self._end_deadline()
        BinaryBoxProtocol.connectionLost(self, reason)
        self.transport = None

    def close(self) -> None:
        """Hang up and read no more."""
        self._closed = self.paused = True
        self._end_deadline()
        if self.transport is not None:
            self.transport.loseConnection()
            if self._remote is not None:
                # TLS waits for the other end, which may not answer.
                self._deadline = self._house.clock.callLater(CLOSE_LIMIT, self._abort)

    def _abort(self) -> None:
        if self.transport is not None:
            cast("ITCPTransport", self.transport).abortConnection()

    def _end_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    def proto_value(self, string: bytes) -> str:
        """Take one value of a box; AMP would take them without end."""
        stranger = self._remote is not None and self._login is None
        if len(self._currentBox or ()) >= (MOST_OF_STRANGERS if stranger else MOST_KEYS):
            self._log.info("a control connection sent a box without end; closed")
            self.close()
        state: str = super().proto_value(string)
        return state

    def ampBoxReceived(self, box: AmpBox) -> None:
        """Start one command; whatever is none ends the connection."""
        if COMMAND not in box or ASK not in box:
            self._log.info("a control connection sent a box that is no command; closed")
            self.close()
            return
        super().ampBoxReceived(box)

    def locateResponder(self, name: bytes) -> Callable[[AmpBox], Deferred[AmpBox]] | None:
        """Find who answers a command; None: AMP says that it is unknown."""
        command = _COMMANDS.get(name)
        return None if command is None else lambda box: self._take(command, box)

    def _take(self, command: type[Command], box: AmpBox) -> Deferred[AmpBox]:
        """Answer within the time limit; the command itself is never cut off half-way."""
        answer: Deferred[AmpBox] = Deferred()
        self._running += 1
        if self._running >= MOST_RUNNING:
            self.pauseProducing()
        self._house.background.start(self._answer(command, box, answer), "control command")
        return answer.addTimeout(COMMAND_LIMIT, self._house.clock, _took_too_long)

    async def _answer(self, command: type[Command], box: AmpBox, answer: Deferred[AmpBox]) -> None:
        try:
            answer.callback(await self._perform(command, box))
        except Exception as error:  # noqa: BLE001 - told to the client, or logged there
            answer.errback(self._told(error))
        finally:
            self._running -= 1
            if self.paused and not self._closed:
                # Later: we may be inside dataReceived, which must not be entered twice.
                self._house.clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        if self.paused and not self._closed:
            self.resumeProducing()

    async def _perform(self, command: type[Command], box: AmpBox) -> AmpBox:
        if command not in _FOR_ALL:
            await self._check_peer()
        arguments = _read(command, box, self)
        if command is Hello:
            answer = self._greet(**arguments)
        elif not self._greeted:
            raise Misunderstood("the first command of a connection is Hello")
        elif command is LogIn:
            answer = await self._log_in(**arguments)
        else:
            asked = Asked(self._house.administration, self._by, self._client, arguments)
            answer = answer_box(command, await ANSWERS[command](asked))
        made: AmpBox = command.makeResponse(answer, self)
        # Refuses what is too large here, where it can be told.
        made.serialize()
        return made

    @property
    def _by(self) -> str:
        """Name who commands, for the trail."""
        if self._login is not None:
            return f"{self._login.address} at {self._client.ip}"
        if self._remote is not None:
            return self._remote.ip
        return "control" if self._uid is None else f"uid {self._uid}"

    @property
    def _client(self) -> Client:
        """Tell where whoever it is comes from, for limits."""
        return Client(self._by, 0) if self._remote is None else self._remote

    async def _check_peer(self) -> None:
        """Let administrators alone command; others register and change their own passwords."""
        if self._login is not None:
            registration = self._house.administration.registration
            if not await registration.may_still(self._login):
                raise Forbidden("your account may not administrate any more")
        elif self._remote is not None:
            raise Forbidden("log in first, as an administrator: mailctl --login USER")
        elif self._uid not in {None, 0, os.geteuid()}:
            raise Forbidden(
                "only root and the user of the daemon may command it, and administrators who"
                " log in: mailctl --login USER"
            )
        if self._greeted:
            self._give_time(IDLE_LIMIT)

    async def _log_in(self, username: str, password: bytes) -> dict[str, Any]:
        """Let an administrator in."""
        if self._failures >= self._house.most_failures:
            raise Forbidden("too many failed logins")
        try:
            registration = self._house.administration.registration
            self._login = await registration.log_in_to_administrate(
                username, password, self._client
            )
        except CommandError:
            self._failures += 1
            raise
        self._give_time(IDLE_LIMIT)
        return {"address": self._login.address}

    def _give_time(self, seconds: float) -> None:
        """Let a connection from afar go when nothing is asked for so long."""
        self._end_deadline()
        if self._remote is not None and not self._closed:
            self._deadline = self._house.clock.callLater(seconds, self.close)

    def _greet(self, version: int, features: list[str] | None) -> dict[str, Any]:
        del features
        mailsvc = self._house.administration.health.version
        if version != VERSION:
            raise WrongVersion(
                f"the daemon (mailsvc {mailsvc}) speaks version {VERSION} of the control "
                f"channel and not {version}: use the mailctl that was installed with it"
            )
        self._greeted = True
        self._give_time(HELLO_LIMIT)
        return {"version": VERSION, "features": list(FEATURES), "mailsvc": mailsvc}

    def _told(self, error: Exception) -> RemoteAmpError:
        """Say an error as AMP does, by its most specific declared kind."""
        if isinstance(error, MailError):
            error = Unavailable(str(error))
        kind = next((kind for kind in type(error).__mro__ if kind in _ERRORS), None)
        if kind is None:
            self._log.failure("a control command failed", failure=Failure(error))
            kind, error = Fault, Fault("the daemon failed at this command; its log says why")
        text = str(error)[:_LONGEST_TEXT]
        return RemoteAmpError(_ERRORS[kind], text, fatal=kind in FATAL_ERRORS)


def _read(command: type[Command], box: AmpBox, connection: AMP) -> dict[str, Any]:
    """Read the arguments of a command; AMP alone would close the connection."""
    try:
        found: dict[str, Any] = command.parseArguments(box, connection)
    except Exception as error:  # noqa: BLE001 - each type of argument has errors of its own
        name = command.commandName.decode()
        raise Misunderstood(
            f"the arguments of {name} cannot be read ({type(error).__name__}): "
            "use the mailctl that was installed with the daemon"
        ) from None
    return found


def _took_too_long(result: object, seconds: float) -> Failure:
    del result
    text = f"no answer within {seconds:.0f} seconds; the command may still be done: look again"
    return Failure(RemoteAmpError(ERRORS[TookTooLong], text))
