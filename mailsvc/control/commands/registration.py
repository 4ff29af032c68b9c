"""Commands of people who are no administrators, and about those people."""

from twisted.protocols.amp import Integer, String, Unicode

from mailsvc.control.boxes import Mailbox, fields_of
from mailsvc.control.commands.base import ControlCommand, Next, page_of
from mailsvc.model.registration import (
    Invitation,
    MadeInvitation,
    NewInvitation,
    Registered,
    Registrant,
    RegistrationRules,
)


class Rules(ControlCommand):
    """``RegistrationRules``; for everybody."""

    commandName = b"RegistrationRules"
    response = fields_of(RegistrationRules)


class Register(ControlCommand):
    """``Registrant`` in, ``Registered`` out; for everybody."""

    arguments = fields_of(Registrant)
    response = fields_of(Registered)


class OwnPassword(ControlCommand):
    """User name, old and new password in, the address out; for everybody."""

    arguments = [(b"address", Unicode()), (b"old", String()), (b"new", String())]
    response = [(b"address", Mailbox())]


class InvitationAdd(ControlCommand):
    """``NewInvitation`` in, ``MadeInvitation`` out."""

    arguments = fields_of(NewInvitation)
    response = fields_of(MadeInvitation)


class InvitationList(Next):
    """A page of ``Invitation``."""

    response = page_of(Invitation)


class InvitationRemove(ControlCommand):
    """The number of an invitation in."""

    arguments = [(b"number", Integer())]


class UserApprove(ControlCommand):
    """An address in and out."""

    arguments = [(b"address", Unicode())]
    response = [(b"address", Mailbox())]


class UserReject(UserApprove):
    """An address in and out."""


PUBLIC = frozenset({Rules, Register, OwnPassword})
"""What everybody may say who gets to the channel."""
