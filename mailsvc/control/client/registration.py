"""The client's commands for people who are no administrators, and about them."""

from mailsvc.control.boxes import box_of, build
from mailsvc.control.client.connection import ControlConnection
from mailsvc.control.commands.registration import (
    InvitationAdd,
    InvitationList,
    InvitationRemove,
    OwnPassword,
    Register,
    Rules,
    UserApprove,
    UserReject,
)
from mailsvc.model.address import Address
from mailsvc.model.page import LARGEST_PAGE, Page
from mailsvc.model.registration import (
    Invitation,
    MadeInvitation,
    NewInvitation,
    Registered,
    Registrant,
    RegistrationRules,
)


class RegistrationClient:
    """
    What everybody may do who gets to the channel; errors as in ``ControlClient``.

    Args:
        line: To the daemon.
    """

    def __init__(self, line: ControlConnection) -> None:
        self._line = line

    async def rules(self) -> RegistrationRules:
        """Ask who may register, and where."""
        return build(RegistrationRules, await self._line.ask(Rules))

    async def register(self, who: Registrant) -> Registered:
        """Make an account for oneself."""
        return build(Registered, await self._line.ask(Register, **box_of(who)))

    async def change_password(self, address: str, old: bytes, new: bytes) -> Address:
        """Change one's own password."""
        asked = self._line.ask(OwnPassword, address=address, old=old, new=new)
        changed: Address = (await asked)["address"]
        return changed

    async def approve(self, address: str) -> Address:
        """Let somebody in who has registered; for administrators, as all that follows."""
        approved: Address = (await self._line.ask(UserApprove, address=address))["address"]
        return approved

    async def reject(self, address: str) -> Address:
        """Remove the account of somebody who waits."""
        rejected: Address = (await self._line.ask(UserReject, address=address))["address"]
        return rejected

    async def invite(self, new: NewInvitation) -> MadeInvitation:
        """Make an invitation."""
        return build(MadeInvitation, await self._line.ask(InvitationAdd, **box_of(new)))

    async def remove_invitation(self, number: int) -> None:
        """Remove an invitation."""
        await self._line.ask(InvitationRemove, number=number)

    async def invitations(self, after: str = "", most: int = LARGEST_PAGE) -> Page[Invitation]:
        """List invitations that are good, a page at a time."""
        return await self._line.page(InvitationList, after, most)
