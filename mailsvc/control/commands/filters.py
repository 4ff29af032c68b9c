"""Commands about filters."""

from twisted.protocols.amp import Integer, Unicode

from mailsvc.control.boxes import Rows, fields_of
from mailsvc.control.commands.base import ControlCommand, Next, page_of
from mailsvc.model.rule import NewRule, Rule, RuleTest


class FilterAdd(ControlCommand):
    """``NewRule`` in, ``Rule`` out."""

    arguments = fields_of(NewRule)
    response = fields_of(Rule)


class FilterList(Next):
    """A page of ``Rule``."""

    response = page_of(Rule)


class FilterRemove(ControlCommand):
    """The number of a rule in."""

    arguments = [(b"number", Integer())]


class FilterTest(ControlCommand):
    """An address and a client in, either may be empty; ``RuleTest`` out."""

    arguments = [(b"address", Unicode()), (b"ip", Unicode())]
    response = [(b"tests", Rows(RuleTest))]
