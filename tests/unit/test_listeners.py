"""The ports: what happens to sessions when they are closed."""

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailsvc.background import Background
from mailsvc.config.settings import Kind, ListenerSettings
from mailsvc.service.listeners import Listeners
from mailsvc.wire.entrance import OPEN


class StubbornFactory:
    """Has one session that never ends by itself."""

    def __init__(self) -> None:
        self.background = Background()
        self.sessions: set[Any] = set()
        self.background.start(self._talk(), "a conversation without end")

    async def _talk(self) -> None:
        await Deferred()

    def interrupt(self) -> None:
        """Ask in vain."""


def test_all_listeners_share_one_patience() -> None:
    """``limits.stop_timeout`` is the time of the whole stop, however many ports there are."""
    clock = Clock()
    names = ("mx", "submission", "pop3")
    settings = {name: ListenerSettings(kind=Kind.SMTP, port=0) for name in names}
    listeners = Listeners(
        clock, settings, lambda _: cast("Any", StubbornFactory()), lambda _: OPEN, 30.0
    )
    closed = Deferred.fromCoroutine(listeners.close_all())

    clock.advance(29)
    assert not closed.called
    clock.advance(1)

    assert closed.called
    assert clock.getDelayedCalls() == []
