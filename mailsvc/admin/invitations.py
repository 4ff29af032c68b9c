"""Invitations: codes with which people make their own accounts."""

from datetime import UTC, datetime

from mailsvc.admin.office import Office
from mailsvc.admin.registration import digest_of
from mailsvc.admin.rules import checked_name, checked_page, checked_span, parsed_domain
from mailsvc.auth.passwords import make_password
from mailsvc.errors import CommandError
from mailsvc.model.page import Page, page_of
from mailsvc.model.registration import Invitation, MadeInvitation, NewInvitation
from mailsvc.store.invitations import add_invitation, list_invitations, remove_invitation
from mailsvc.store.trail import Record

MOST_USES = 100_000
_HINT = 5
"""Characters of a code that are kept: its first group."""


class Invitations:
    """
    Makes, lists and removes invitations; errors as in ``Administration``.

    Args:
        office: Where changes are made.
    """

    def __init__(self, office: Office) -> None:
        self._office = office

    async def add(self, new: NewInvitation, *, by: str) -> MadeInvitation:
        """
        Make an invitation.

        Raises:
            NotFound: Its domain is not ours.
            CommandError: It is none that could be used.
        """
        if not 1 <= new.uses <= MOST_USES:
            raise CommandError(f"an invitation is for 1 to {MOST_USES} accounts")
        checked_span(new.span)
        asked = NewInvitation(
            uses=new.uses,
            span=new.span,
            note=checked_name(new.note),
            domain=parsed_domain(new.domain) if new.domain else "",
        )
        code = make_password()
        record = Record(by, "invitation add", {"uses": new.uses, "note": new.note})
        number = await self._office.change(
            record, add_invitation, self._office.ids, asked, digest_of(code), code[:_HINT]
        )
        expires = None if new.span is None else datetime.now(UTC) + new.span
        return MadeInvitation(number, code, new.uses, expires)

    async def list(self, after: str, most: int) -> Page[Invitation]:
        """List invitations that are good, the oldest first, a page at a time."""
        if after and not (after.isascii() and after.isdigit()):
            raise CommandError(f"{after!r} is no place in a list; begin anew")
        most = checked_page(most)
        found = await self._office.database.run(list_invitations, int(after or 0), most + 1)
        return page_of(found, most, lambda one: str(one.number))

    async def remove(self, number: int, *, by: str) -> None:
        """
        Remove an invitation.

        Raises:
            NotFound: There is none with this number.
        """
        record = Record(by, "invitation remove", {"invitation": number})
        await self._office.change(record, remove_invitation, number)
