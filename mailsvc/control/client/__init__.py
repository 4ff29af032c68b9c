"""
The other end of the control channel, for mailctl and for programs of administrators.

    client = await connect(reactor, Path("state/control.sock"))
    page = await client.users.list()
    client.close()
"""

from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.protocols.amp import AMP

from mailsvc.control.client.aliases import AliasesClient
from mailsvc.control.client.broadcasts import BroadcastsClient
from mailsvc.control.client.connection import (
    ANSWER_LIMIT,
    ControlConnection,
    ControlError,
    open_connection,
)
from mailsvc.control.client.dkim import DkimClient
from mailsvc.control.client.domains import DomainsClient
from mailsvc.control.client.export import ExportClient
from mailsvc.control.client.filters import FiltersClient
from mailsvc.control.client.logs import LogsClient
from mailsvc.control.client.queue import QueueClient
from mailsvc.control.client.registration import RegistrationClient
from mailsvc.control.client.services import ServicesClient
from mailsvc.control.client.sessions import SessionsClient
from mailsvc.control.client.settings import SettingsClient
from mailsvc.control.client.trail import TrailClient
from mailsvc.control.client.trust import Remote
from mailsvc.control.client.users import UsersClient
from mailsvc.model.address import Address

__all__ = ["ANSWER_LIMIT", "ControlClient", "ControlError", "Remote", "connect"]


class ControlClient:
    """
    A connection to the daemon; each topic is an attribute.

    All methods raise ``CommandError`` when the daemon refuses, its subclasses ``NotFound``
    and ``AlreadyThere`` where they say more, and ``ControlError`` when there is no answer.

    Args:
        line: Open and greeted.
    """

    def __init__(self, line: ControlConnection) -> None:
        self._line = line
        self.aliases = AliasesClient(line)
        self.broadcasts = BroadcastsClient(line)
        self.dkim = DkimClient(line)
        self.domains = DomainsClient(line)
        self.export = ExportClient(line)
        self.filters = FiltersClient(line)
        self.logs = LogsClient(line)
        self.queue = QueueClient(line)
        self.services = ServicesClient(line)
        self.registration = RegistrationClient(line)
        self.sessions = SessionsClient(line)
        self.settings = SettingsClient(line)
        self.trail = TrailClient(line)
        self.users = UsersClient(line)

    @classmethod
    def over(cls, connection: AMP, clock: IReactorTime) -> "ControlClient":
        """Take an open connection; ``greet`` comes first."""
        return cls(ControlConnection(connection, clock))

    async def greet(self) -> None:
        """Say hello; see ``ControlConnection.greet``."""
        await self._line.greet()

    async def log_in(self, username: str, password: bytes) -> Address:
        """Log in as an administrator; see ``ControlConnection.log_in``."""
        return await self._line.log_in(username, password)

    def close(self) -> None:
        """Hang up."""
        self._line.close()


async def connect(reactor: Any, place: Path | Remote) -> ControlClient:
    """
    Open a connection to the daemon and say hello.

    Args:
        reactor: Twisted's; makes the connection and tells the time.
        place: The control socket, or another machine: ``log_in`` comes next then.

    Raises:
        NotReachable: There is no daemon, or it does not let us in.
        ControlError: What answers is no daemon of this version.
        CommandError: The daemon refuses us; the text says why.
    """
    return ControlClient(await open_connection(reactor, place))
