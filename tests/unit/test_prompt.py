"""Connections that read and write in large steps."""

from typing import Any, cast

from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactor

from mailsvc.config.units import KIB
from mailsvc.wire.prompt import PromptConnection


class _Kernel:
    """A socket that holds what a client has sent."""

    def __init__(self) -> None:
        self.waiting = 0

    def recv(self, most: int) -> bytes:
        """Give what there is."""
        octets = min(most, self.waiting)
        self.waiting -= octets
        return b"x" * octets

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - as sockets have it
        """Never block."""

    def fileno(self) -> int:
        """Have a number as sockets do."""
        return 99


class _Sizes(Protocol):
    """Notes how much came with each read."""

    def __init__(self) -> None:
        self.noted: list[int] = []

    def dataReceived(self, data: bytes) -> None:
        """Note it."""
        self.noted.append(len(data))


def test_a_client_that_sends_much_is_read_in_larger_steps() -> None:
    """And in small ones again, as soon as it sends little: large buffers cost time."""
    kernel, sizes = _Kernel(), _Sizes()
    peer = ("127.0.0.1", 1)
    connection = PromptConnection(
        cast("Any", kernel), sizes, peer, cast("Any", None), 1, cast("Any", MemoryReactor())
    )

    for octets in (100 * KIB, 1000 * KIB, 0, 0, 0, 0, 100 * KIB):
        kernel.waiting += octets
        connection.doRead()

    first, *large, rest, again = sizes.noted
    assert first == again == 64 * KIB
    assert large == [256 * KIB] * 4
    assert rest == 12 * KIB
