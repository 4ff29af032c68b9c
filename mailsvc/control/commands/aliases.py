"""Commands about aliases, groups and forwards; each names the kind it means."""

from twisted.protocols.amp import Boolean, ListOf, Unicode

from mailsvc.control.boxes import Mailbox, Word, fields_of
from mailsvc.control.commands.base import ControlCommand, Next, page_of
from mailsvc.model.alias import AliasKind, AliasSummary, NewAlias

_WHICH = [(b"kind", Word(AliasKind)), (b"address", Unicode())]
_MEMBERS = [(b"address", Unicode()), (b"members", ListOf(Unicode()))]


class AliasSet(ControlCommand):
    """``NewAlias`` in, ``AliasSummary`` out."""

    arguments = fields_of(NewAlias)
    response = fields_of(AliasSummary)


class AliasList(Next):
    """A page of ``AliasSummary``."""

    arguments = [*Next.arguments, (b"kind", Word(AliasKind))]
    response = page_of(AliasSummary)


class AliasShow(ControlCommand):
    """``AliasSummary`` out."""

    arguments = [*_WHICH]
    response = fields_of(AliasSummary)


class AliasSwitch(ControlCommand):
    """Enable or disable; ``AliasSummary`` out."""

    arguments = [*_WHICH, (b"enabled", Boolean())]
    response = fields_of(AliasSummary)


class AliasRemove(ControlCommand):
    """The whole address out."""

    arguments = [*_WHICH]
    response = [(b"address", Mailbox())]


class GroupMemberAdd(ControlCommand):
    """``AliasSummary`` of the group out."""

    arguments = [*_MEMBERS]
    response = fields_of(AliasSummary)


class GroupMemberRemove(ControlCommand):
    """``AliasSummary`` of the group out."""

    arguments = [*_MEMBERS]
    response = fields_of(AliasSummary)
