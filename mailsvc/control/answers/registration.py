"""Answers to people who are no administrators, and about them."""

from mailsvc.control.answers.base import Answers, Asked
from mailsvc.control.boxes import build
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
from mailsvc.model.page import Page
from mailsvc.model.registration import (
    Invitation,
    MadeInvitation,
    NewInvitation,
    Registered,
    Registrant,
    RegistrationRules,
)


async def rules(asked: Asked) -> RegistrationRules:
    """Tell who may register."""
    return await asked.administration.registration.rules()


async def register(asked: Asked) -> Registered:
    """Make an account for whoever asks."""
    who = build(Registrant, asked.values)
    return await asked.administration.registration.register(who, asked.client)


async def own_password(asked: Asked) -> dict[str, object]:
    """Change the password of whoever asks."""
    address = await asked.administration.registration.change_password(
        asked["address"], asked["old"], asked["new"], asked.client
    )
    return {"address": address}


async def add(asked: Asked) -> MadeInvitation:
    """Make an invitation."""
    new = build(NewInvitation, asked.values)
    return await asked.administration.invitations.add(new, by=asked.by)


async def list_(asked: Asked) -> Page[Invitation]:
    """List invitations, as many as fit."""
    return await asked.administration.invitations.list(*asked.page)


async def remove(asked: Asked) -> None:
    """Remove an invitation."""
    await asked.administration.invitations.remove(asked["number"], by=asked.by)


async def approve(asked: Asked) -> dict[str, object]:
    """Let somebody in."""
    return {"address": await asked.administration.users.approve(asked["address"], by=asked.by)}


async def reject(asked: Asked) -> dict[str, object]:
    """Remove somebody who waits."""
    return {"address": await asked.administration.users.reject(asked["address"], by=asked.by)}


ANSWERS: Answers = {
    Rules: rules,
    Register: register,
    OwnPassword: own_password,
    InvitationAdd: add,
    InvitationList: list_,
    InvitationRemove: remove,
    UserApprove: approve,
    UserReject: reject,
}
