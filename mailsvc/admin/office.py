"""What all topics of the administration share: how a change is made and noted."""

from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from twisted.logger import Logger

from mailsvc.admin.rules import parsed_address
from mailsvc.errors import CommandError
from mailsvc.model.address import Address
from mailsvc.model.ids import AccountId, IdSource
from mailsvc.store.database import Database, Query
from mailsvc.store.directory import Directory
from mailsvc.store.trail import Record, recorded, recorded_about

P = ParamSpec("P")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Office:
    """
    Where an administrator's changes are made.

    Args:
        database: Where everything is.
        directory: Told of every change.
    """

    database: Database
    directory: Directory
    _log = Logger()

    @property
    def ids(self) -> IdSource:
        """Numbers for new rows."""
        return self.database.ids

    async def change(
        self, record: Record, query: Query[P, Result], /, *args: P.args, **kwargs: P.kwargs
    ) -> Result:
        """
        Change something and note it in the trail, in one transaction.

        The directory forgets even when the outcome is not known.
        """
        try:
            done = await self.database.write(recorded, self.ids, record, query, *args, **kwargs)
        finally:
            self.directory.forget()
        self._tell(record)
        return done

    async def change_account(
        self, record: Record, query: Query[P, AccountId], /, *args: P.args, **kwargs: P.kwargs
    ) -> AccountId:
        """Change an account, as ``change`` does; the query gives its number, for the trail."""
        try:
            whose = await self.database.write(
                recorded_about, self.ids, record, query, *args, **kwargs
            )
        finally:
            self.directory.forget()
        self._tell(record)
        return whose

    async def note(self, record: Record) -> None:
        """Note in the trail what changes nothing in the database."""
        await self.database.write(recorded, self.ids, record, lambda _: None)
        self._tell(record)

    def _tell(self, record: Record) -> None:
        what = ", ".join(f"{name} {value}" for name, value in record.detail.items())
        self._log.info("{by}: {did}: {what}", by=record.by, did=record.did, what=what)

    async def address(self, text: str) -> Address:
        """Read an address; one without a domain belongs to the first domain."""
        if "@" in text:
            return parsed_address(text)
        home = await self.directory.home()
        if home is None:
            raise CommandError("there is no domain yet; write the whole address")
        return parsed_address(f"{text}@{home}")
