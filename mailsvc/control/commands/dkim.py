"""Commands about keys that sign mail."""

from twisted.protocols.amp import Boolean, Unicode

from mailsvc.control.boxes import Rows, fields_of
from mailsvc.control.commands.base import ControlCommand
from mailsvc.model.dkim import DkimKey, DnsRecord, NewDkimKey


class DkimAdd(ControlCommand):
    """``NewDkimKey`` in, ``DkimKey`` out."""

    arguments = fields_of(NewDkimKey)
    response = fields_of(DkimKey)


class DkimList(ControlCommand):
    """A domain, or nothing, in; every ``DkimKey`` out."""

    arguments = [(b"domain", Unicode(optional=True))]
    response = [(b"keys", Rows(DkimKey))]


class DkimSwitch(ControlCommand):
    """Let a key sign, or not."""

    arguments = [(b"domain", Unicode()), (b"selector", Unicode()), (b"active", Boolean())]


class DkimRemove(ControlCommand):
    """Remove a key."""

    arguments = [(b"domain", Unicode()), (b"selector", Unicode())]


class DnsRecords(ControlCommand):
    """A domain in, every ``DnsRecord`` out."""

    arguments = [(b"domain", Unicode())]
    response = [(b"records", Rows(DnsRecord))]
