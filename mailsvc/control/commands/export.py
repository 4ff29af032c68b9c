"""Commands for whoever saves mail."""

from twisted.protocols.amp import Integer, String, Unicode

from mailsvc.control.commands.base import ControlCommand, Next, page_of
from mailsvc.model.export import StoredMail


class MailList(Next):
    """A page of ``StoredMail`` of an account."""

    arguments = [*Next.arguments, (b"address", Unicode())]
    response = page_of(StoredMail)


class MailPiece(ControlCommand):
    """Some octets of a message; empty at the end of a part, none behind the last part."""

    arguments = [(b"message", Integer()), (b"part", Integer()), (b"offset", Integer())]
    response = [(b"octets", String(optional=True))]
