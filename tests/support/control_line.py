"""Both ends of the control channel in one test, without a socket."""

import os
from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.protocols.amp import AMP, AmpBox
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump
from twisted.test.iosim import connect as connect_in_memory

from mailsvc.admin.administration import Administration
from mailsvc.cli.place import Conversation, Talk
from mailsvc.control.client import ControlClient
from mailsvc.control.connection import ControlConnection, House
from mailsvc.model.envelope import Client

Result = TypeVar("Result")


class RawClient(AMP):
    """Notes every box that comes, and the end."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[AmpBox] = []
        self.open = True

    def ampBoxReceived(self, box: AmpBox) -> None:
        """Note it, then treat it as usual."""
        self.heard.append(box)
        if int(box.get(b"_answer", box.get(b"_error", b"0")), 16) in self._tags():
            super().ampBoxReceived(box)

    def _tags(self) -> set[int]:
        return {int(tag, 16) for tag in self._outstandingRequests or ()}

    def connectionLost(self, reason: Any = None) -> None:
        """Note the end."""
        self.open = False
        super().connectionLost(reason)


class Line:
    """A connection of the user *uid* to an administration, or of a *remote* client."""

    def __init__(
        self,
        administration: Administration,
        clock: Clock,
        uid: int | None = -1,
        remote: Client | None = None,
    ) -> None:
        uid = os.geteuid() if uid == -1 else uid
        self.clock = clock
        self.house = House(
            administration=administration, clock=clock, peer_uid=lambda _transport: uid
        )
        self.server = ControlConnection(self.house, remote)
        self.raw = RawClient()
        self.client = ControlClient.over(self.raw, clock)
        self._pump: IOPump = connect_in_memory(
            self.server,
            FakeTransport(self.server, isServer=True),
            self.raw,
            FakeTransport(self.raw, isServer=False),
            clock=clock,
        )

    def greeted(self) -> "Line":
        """Say hello first."""
        self.finish(self.client.greet())
        return self

    def start(self, work: Coroutine[Any, Any, Result]) -> "list[Result | Failure]":
        """Begin something; the list gets its outcome."""
        outcome: list[Result | Failure] = []
        _ = Deferred.fromCoroutine(work).addBoth(outcome.append)
        self.flush()
        return outcome

    def finish(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something that needs no time."""
        outcome = self.start(work)
        assert outcome, "it still waits"
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]

    def says(self, *boxes: dict[bytes, bytes]) -> list[AmpBox]:
        """Send boxes as they are, all at once; gives what came back."""
        return self.sends(b"".join(AmpBox(box).serialize() for box in boxes))

    def sends(self, octets: bytes) -> list[AmpBox]:
        """Send octets as they are; gives the boxes that came back."""
        before = len(self.raw.heard)
        assert self.raw.transport is not None
        self.raw.transport.write(octets)
        self.flush()
        return self.raw.heard[before:]

    def flush(self) -> None:
        """Carry everything over, both ways."""
        self._pump.flush()

    def passes(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)
        self.flush()

    def hangs_up(self) -> None:
        """End it from the client's side."""
        self.client.close()
        self.flush()


def talk_in_memory(administration: Administration, clock: Clock) -> Talk:
    """Make what mailctl talks through: a new line each time."""

    def talk(_place: object, conversation: Conversation[Result]) -> Result:
        line = Line(administration, clock).greeted()
        try:
            return line.finish(conversation(line.client))
        finally:
            line.hangs_up()

    return talk
