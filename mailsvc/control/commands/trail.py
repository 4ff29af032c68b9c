"""Commands about the trail."""

from twisted.protocols.amp import Unicode

from mailsvc.control.boxes import fields_of
from mailsvc.control.commands.base import Next, page_of
from mailsvc.model.story import StoryFilter, StoryRow


class TrailSearch(Next):
    """A ``StoryFilter`` in, a page of ``StoryRow`` out, the latest first."""

    arguments = [*Next.arguments, *fields_of(StoryFilter)]
    response = page_of(StoryRow)


class TrailTrace(Next):
    """A message in, a page of ``StoryRow`` out, the oldest first."""

    arguments = [*Next.arguments, (b"message", Unicode())]
    response = page_of(StoryRow)
