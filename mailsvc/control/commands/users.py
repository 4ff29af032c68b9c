"""Commands about accounts."""

from twisted.protocols.amp import Integer, String, Unicode

from mailsvc.control.boxes import Mailbox, Word, fields_of
from mailsvc.control.commands.base import ControlCommand, Next, page_of
from mailsvc.model.account import AccountFilter, AccountSummary, Role
from mailsvc.model.user import NewLogin, NewUser, Turned, UserChange, UserSwitch


class UserAdd(ControlCommand):
    """``NewUser`` in, ``NewLogin`` out."""

    arguments = fields_of(NewUser)
    response = fields_of(NewLogin)


class UserList(Next):
    """An ``AccountFilter`` in, a page of ``AccountSummary`` out."""

    arguments = [*Next.arguments, *fields_of(AccountFilter)]
    response = page_of(AccountSummary)


class UserPassword(ControlCommand):
    """Without a password one is made at random; ``NewLogin`` out."""

    arguments = [(b"address", Unicode()), (b"password", String(optional=True))]
    response = fields_of(NewLogin)


class UserKeep(ControlCommand):
    """Without days the inbox keeps its mail for ever; the whole address out."""

    arguments = [(b"address", Unicode()), (b"days", Integer(optional=True))]
    response = [(b"address", Mailbox())]


class UserShow(ControlCommand):
    """``AccountSummary`` out."""

    arguments = [(b"address", Unicode())]
    response = fields_of(AccountSummary)


class UserSet(ControlCommand):
    """``UserChange`` in, the whole address out."""

    arguments = fields_of(UserChange)
    response = [(b"address", Mailbox())]


class UserTurn(ControlCommand):
    """``UserSwitch`` in, ``Turned`` out."""

    arguments = fields_of(UserSwitch)
    response = fields_of(Turned)


class UserRole(ControlCommand):
    """The whole address out."""

    arguments = [(b"address", Unicode()), (b"role", Word(Role))]
    response = [(b"address", Mailbox())]


class UserRename(ControlCommand):
    """The whole new address out."""

    arguments = [(b"address", Unicode()), (b"new", Unicode())]
    response = [(b"address", Mailbox())]


class UserDelete(ControlCommand):
    """
    The account and all its mail; the whole address out.

    With ``holds``, only if it has as many messages.
    """

    arguments = [(b"address", Unicode()), (b"holds", Integer(optional=True))]
    response = [(b"address", Mailbox())]
