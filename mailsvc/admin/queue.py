"""Mail that waits for other servers."""

import re
from collections.abc import Callable, Collection
from dataclasses import replace

from mailsvc.admin.office import Office
from mailsvc.admin.rules import checked_page, parsed_domain
from mailsvc.delivery.bounces import SettleRecipe
from mailsvc.errors import CommandError, NotFound
from mailsvc.model.page import Page, page_of
from mailsvc.model.waiting import Attempt, Pick, QueueAction, QueueChange, Waiting
from mailsvc.store.trail import Record
from mailsvc.store.waiting import (
    MOST_AT_ONCE,
    change_queue,
    domains_of,
    list_attempts,
    list_waiting,
)

_NUMBER = re.compile("[0-9a-f]{16}")
_SENDS = {QueueAction.RETRY, QueueAction.RELEASE}


class Queue:
    """
    Shows and changes what waits; errors as in ``Administration``.

    Args:
        office: Where changes are made.
        hostname: Our name, in reports.
        send_now: Called with domains whose mail is to leave at once, whatever their servers
            did before.
    """

    def __init__(
        self, office: Office, hostname: str, send_now: Callable[[Collection[str]], None]
    ) -> None:
        self._office = office
        self._send_now = send_now
        self.hostname = hostname
        """Our name; may be replaced."""

    async def list(self, after: str, most: int, pick: Pick) -> Page[Waiting]:
        """List recipients that wait, the oldest first, a page at a time."""
        most, place, pick = checked_page(most), _place(after), await self._checked(pick)
        found = await self._office.database.run(list_waiting, pick, place, most + 1)
        return page_of(found, most, lambda one: str(one.number))

    async def attempts(self, message: str, after: str, most: int) -> Page[Attempt]:
        """
        List the attempts with a message, the oldest first, a page at a time.

        Raises:
            NotFound: There is no such message.
        """
        most, place, number = checked_page(most), _place(after), _message(message)
        run = self._office.database.run
        found = await run(list_attempts, int(number, 16), place, most + 1)
        if not (found or place) and not await run(list_waiting, Pick(message=number), 0, 1):
            raise NotFound(
                f"no message {number} waits, and none was tried; see: mailctl queue list"
            )
        return page_of(found, most, lambda one: str(one.number))

    async def change(self, action: QueueAction, pick: Pick, *, by: str) -> QueueChange:
        """
        Do something with recipients that wait.

        Raises:
            CommandError: *pick* names nothing.
        """
        pick = await self._checked(pick)
        if pick == Pick():
            raise CommandError(
                "name a message, a sender, a recipient or a domain, or say --all for everything"
            )
        office, done = self._office, QueueChange(changed=0, left=0)
        domains = await office.database.run(domains_of, pick) if action in _SENDS else set()
        record = Record(by, f"queue {action}", _told(pick))
        while True:
            settle = SettleRecipe(self.hostname, office.directory.secret())(office.ids)
            step = await office.change(record, change_queue, action, pick, settle, office.ids)
            done = QueueChange(changed=done.changed + step.changed, left=step.left)
            if step.changed < MOST_AT_ONCE:
                break
        if domains:
            self._send_now(domains)
        return done

    async def _checked(self, pick: Pick) -> Pick:
        if pick.message:
            pick = replace(pick, message=_message(pick.message))
        if pick.domain:
            domain = pick.domain if pick.domain.startswith("[") else parsed_domain(pick.domain)
            pick = replace(pick, domain=domain)
        sender, recipient = await self._address(pick.sender), await self._address(pick.recipient)
        return replace(pick, sender=sender, recipient=recipient)

    async def _address(self, text: str) -> str:
        return text if text in {"", "<>"} else str(await self._office.address(text))


def _message(text: str) -> str:
    if not _NUMBER.fullmatch(text.strip().lower()):
        raise CommandError(
            f"{text!r} is no number of a message: it has 16 digits, as in the 250 reply"
        )
    return text.strip().lower()


def _place(after: str) -> int:
    if after and not (after.isascii() and after.isdigit()):
        raise CommandError(f"{after!r} is no place in a list; begin anew")
    return int(after or 0)


def _told(pick: Pick) -> dict[str, str]:
    names = ("message", "sender", "recipient", "domain")
    return {name: getattr(pick, name) for name in names if getattr(pick, name)} or {"what": "all"}
