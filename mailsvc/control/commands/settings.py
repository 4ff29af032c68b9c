"""Commands about settings."""

from twisted.protocols.amp import Integer, Unicode

from mailsvc.control.boxes import fields_of
from mailsvc.control.commands.base import ControlCommand, Next, page_of
from mailsvc.model.setting import SettingState


class SettingsList(Next):
    """A section in, empty: all; a page of ``SettingState``."""

    arguments = [*Next.arguments, (b"section", Unicode(optional=True))]
    response = page_of(SettingState)


class SettingsSet(ControlCommand):
    """A path and a value as config.yaml has it in; ``SettingState`` out."""

    arguments = [(b"name", Unicode()), (b"value", Unicode())]
    response = fields_of(SettingState)


class SettingsReset(ControlCommand):
    """A path in; how many changes were taken back out."""

    arguments = [(b"name", Unicode())]
    response = [(b"count", Integer())]
