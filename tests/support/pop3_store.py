"""The real maildrops on SQLite, without threads: every answer is there at once."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection

from mailsvc.config.settings import SpoolSettings
from mailsvc.model.account import Account
from mailsvc.model.address import Address
from mailsvc.model.ids import IdSource, MessageId
from mailsvc.spool import Spool, SpoolRoom
from mailsvc.store.accounts import (
    NewAccount,
    add_account,
    find_account,
)
from mailsvc.store.database import Database
from mailsvc.store.deliveries import DeliverBatch
from mailsvc.store.delivery import Delivery, Target
from mailsvc.store.domains import add_domain
from mailsvc.store.engine import Engines, open_engines
from mailsvc.store.faults import to_mail_error
from mailsvc.store.maildrop import Maildrops
from mailsvc.store.tables import metadata


class SameThreadDatabase:
    """Runs queries where they are asked; as much of ``Database`` as maildrops need."""

    def __init__(self, engines: Engines, ids: IdSource, *, single: bool) -> None:
        self.ids = ids
        self.single = single
        self._engines = engines

    def glance(self, query: Callable[..., Any]) -> None:
        """Have no glances: everything goes by ``run``."""

    async def run(self, query: Callable[..., Any], /, *args: Any) -> Any:
        """Ask in a transaction of its own."""
        try:
            with self._engines.read.begin() as connection:
                return query(connection, *args)
        except Exception as error:
            raise to_mail_error(error) from error

    async def write(self, query: Callable[..., Any], /, *args: Any) -> Any:
        """Write in a transaction of its own."""
        return self.write_now(query, *args)

    async def write_batch(
        self,
        query: Callable[[Connection, Sequence[Any]], Sequence[Any]],
        item: Any,
        *,
        octets: int = 0,
        shard: int = 0,
    ) -> Any:
        """Write a batch of one."""
        del octets, shard
        (answer,) = self.write_now(query, [item])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def write_now(self, query: Callable[..., Any], /, *args: Any) -> Any:
        """Write without waiting."""
        with self._engines.write.begin() as connection:
            return query(connection, *args)


class SqliteMaildrops:
    """
    The real maildrops in a new database.

    Args:
        folder: Where the database is made.
        single: Whether this process has it for itself; leases are rows when not.
    """

    def __init__(self, folder: Path, *, single: bool = False) -> None:
        self.engines = open_engines(f"sqlite:///{folder / 'test.db'}", 1, 1)
        self._ids = IdSource()
        self._room = SpoolRoom(folder, SpoolSettings())
        self.database = SameThreadDatabase(self.engines, self._ids, single=single)
        """Runs any query."""
        self.maildrops = Maildrops(cast("Database", self.database))
        with self.engines.write.begin() as connection:
            metadata.create_all(connection)
            add_domain(connection, self._ids, "test.com")

    def make_account(self, number: int) -> Account:
        """Make an account in the database."""
        address = Address(f"user{number}", "test.com")
        with self.engines.write.begin() as connection:
            add_account(connection, self._ids, NewAccount(address=address, hashed="-"))
            account = find_account(connection, address)
        assert account is not None
        return account

    def fill(self, account: Account, *bodies: bytes) -> None:
        """Deliver mail."""
        deliver = DeliverBatch(self._ids)
        for body in bodies:
            content = Spool(self._room)
            content.write(body)
            target = Target(account.id, account.inbox, str(account.address), None, None)
            delivery = Delivery(
                message=MessageId(self._ids.next()),
                trace=b"",
                return_path_octets=0,
                content=content,
                sender="",
                received=datetime.now(UTC),
                client_ip="192.0.2.1",
                targets=(target,),
            )
            assert self.database.write_now(deliver, [delivery]) == [None]
            content.close()
