"""What a benchmark needs of a mail server; each kind has a file of its own."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from bench.daemon import Daemon


class Server(ABC):
    """A server private to one benchmark; a context manager that runs it."""

    name: str
    daemon: Daemon | None = None
    """None before the first start."""

    @abstractmethod
    def start(self) -> None:
        """Start, and return when it takes connections."""

    def stop(self) -> None:
        """Stop every process."""
        if self.daemon:
            self.daemon.stop()

    def cpu_seconds(self) -> float:
        """Tell the CPU time that all its processes have used."""
        return self.daemon.cpu_seconds() if self.daemon else 0.0

    def __enter__(self) -> Self:
        """Start; what started before a failure is stopped."""
        try:
            self.start()
        except BaseException:  # an interrupt, too, must leave no daemon behind
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()


class TakesMail(Server):
    """A server that mail is sent to."""

    smtp_port: int
    """On 127.0.0.1."""

    @abstractmethod
    def settle(self, ended: float) -> float:
        """
        Wait until every accepted message is in its mailbox.

        Args:
            ended: When the last was accepted, of `time.monotonic`.

        Returns:
            When all were seen there.

        Raises:
            Stuck: They are not in time.
        """

    @abstractmethod
    def tokens(self) -> list[list[bytes]] | None:
        """
        Name the messages in each user's mailbox; None of a server that keeps nothing.

        Raises:
            Damaged: One is not what was sent.
        """


class GivesMail(Server):
    """A server that mail is collected from."""

    pop3_port: int
    """On 127.0.0.1."""

    @abstractmethod
    def password(self, user: int) -> str:
        """Tell the password of a user."""

    @abstractmethod
    def fill(self, user: int, prefix: str, count: int, octets: int) -> None:
        """
        Put messages into a user's mailbox.

        Args:
            user: Counted from 0.
            prefix: Of the tokens.
            count: How many messages.
            octets: Of each.
        """

    @abstractmethod
    def chill(self, users: Iterable[int]) -> None:
        """Start anew, knowing nothing of these users' mailboxes that was worked out before."""
