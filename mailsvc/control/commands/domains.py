"""Commands about domains."""

from twisted.protocols.amp import Boolean, Integer, Unicode

from mailsvc.control.boxes import fields_of
from mailsvc.control.commands.base import ControlCommand, Next, page_of
from mailsvc.model.domain import DomainChange, DomainSummary


class DomainAdd(ControlCommand):
    """``DomainSummary`` out."""

    arguments = [(b"name", Unicode())]
    response = fields_of(DomainSummary)


class DomainList(Next):
    """A page of ``DomainSummary``."""

    response = page_of(DomainSummary)


class DomainShow(ControlCommand):
    """``DomainSummary`` out."""

    arguments = [(b"name", Unicode())]
    response = fields_of(DomainSummary)


class DomainSwitch(ControlCommand):
    """Enable or disable; ``DomainSummary`` out."""

    arguments = [(b"name", Unicode()), (b"enabled", Boolean())]
    response = fields_of(DomainSummary)


class DomainSet(ControlCommand):
    """``DomainChange`` in, ``DomainSummary`` out."""

    arguments = fields_of(DomainChange)
    response = fields_of(DomainSummary)


class DomainRemove(ControlCommand):
    """With counts: all that was saved goes, too."""

    arguments = [
        (b"name", Unicode()),
        (b"accounts", Integer(optional=True)),
        (b"aliases", Integer(optional=True)),
        (b"messages", Integer(optional=True)),
    ]
    response = [(b"name", Unicode())]
