"""The commands of the TRANSACTION state, and the UPDATE state; RFC 1939 sections 5 to 7."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from mailsvc.errors import MailError
from mailsvc.pop3.maildrop import Maildrop
from mailsvc.pop3.replies import (
    BAD_ARGUMENT,
    BYE,
    DONE,
    MARKED,
    NEEDS_UTF8,
    NO_SUCH_MESSAGE,
    NOT_REMOVED,
    Reply,
    ok,
    ok_content,
    ok_lines,
    ok_message,
)
from mailsvc.pop3.session import Session
from mailsvc.pop3.top import TopCutter
from mailsvc.wire.dots import DotWriter

SLICE = 1000
"""Lines of a long listing that are made at once."""
_MOST_DIGITS = 10

_log = Logger()


def stat(session: Session, argument: bytes) -> Reply:
    """Count what is not marked; the "drop listing" of RFC 1939 section 5."""
    del argument
    return ok(b"%d %d" % (session.maildrop.count, session.maildrop.octets))


def list_(session: Session, argument: bytes) -> Reply:
    """Tell the octets of one message or of each; the "scan listing"."""
    maildrop = session.maildrop
    if argument:
        index = _index(maildrop, argument)
        return (
            NO_SUCH_MESSAGE if index is None else ok(b"%d %d" % (index + 1, maildrop.sizes[index]))
        )
    sizes = maildrop.sizes
    return _listing(maildrop, lambda indexes: [b"%d %d\r\n" % (i + 1, sizes[i]) for i in indexes])


def uidl(session: Session, argument: bytes) -> Reply:
    """Tell the unique-id of one message or of each; RFC 1939 section 7."""
    maildrop = session.maildrop
    if argument:
        index = _index(maildrop, argument)
        return (
            NO_SUCH_MESSAGE if index is None else ok(b"%d %b" % (index + 1, maildrop.uidl(index)))
        )
    name = maildrop.uidl
    return _listing(maildrop, lambda indexes: [b"%d %b\r\n" % (i + 1, name(i)) for i in indexes])


def retr(session: Session, argument: bytes) -> Reply | Awaitable[Reply]:
    """Send a message: one in memory in one write, any other chunk by chunk."""
    maildrop = session.maildrop
    index = _index(maildrop, argument)
    if index is None:
        return NO_SUCH_MESSAGE
    octets = maildrop.reply(index)
    return _fetch(session, index) if octets is None else _give(session, maildrop, index, octets)


def retr_group(session: Session, numbers: Iterable[bytes], most: int, replies: list[bytes]) -> None:
    """
    Send some messages that are in memory; the client must be one that ``understands_all``.

    Args:
        session: Whose.
        numbers: Message-numbers of ten digits at most.
        most: Octets of all replies together; only the last one may go beyond.
        replies: Gets the replies for the first of them, up to one that is not in memory, not
            there or marked.
    """
    maildrop = session.maildrop
    for number in numbers:
        index = int(number) - 1
        reply = None if index in maildrop.marks else maildrop.reply(index)
        if reply is None:
            return
        session.note_fetched(maildrop.messages[index])
        replies.append(reply)
        most -= len(reply)
        if most <= 0:
            return


async def _fetch(session: Session, index: int) -> Reply:
    """Wait for a message."""
    maildrop = session.maildrop
    whole = await maildrop.whole(index)
    if whole is not None:
        return _give(session, maildrop, index, ok_message(maildrop.sizes[index], whole))
    said = b"%d octets" % maildrop.sizes[index]
    reply = await _in_pieces(session, said, maildrop.chunks(index))
    if not reply.failed:
        session.note_fetched(maildrop.messages[index])
    return reply


def _give(session: Session, maildrop: Maildrop, index: int, octets: bytes) -> Reply:
    """Send a message that is in memory, with its first line and its dots."""
    if not session.understands(octets):
        return NEEDS_UTF8
    session.note_fetched(maildrop.messages[index])
    return Reply(octets)


async def top(session: Session, argument: bytes) -> Reply:
    """Send the header of a message and some lines of its body; RFC 1939 section 7."""
    maildrop = session.maildrop
    number, _, lines = argument.partition(b" ")
    index, count = _index(maildrop, number), _number(lines)
    if count is None:
        return BAD_ARGUMENT
    if index is None:
        return NO_SUCH_MESSAGE
    cutter = TopCutter(count)
    whole = await maildrop.whole(index, keep=True)
    if whole is None:
        pieces = _cut(cutter, maildrop.chunks(index))
        return await _in_pieces(session, b"top of message follows", pieces)
    if not session.understands(whole):
        return NEEDS_UTF8
    return ok_content(b"top of message follows", cutter.feed(whole))


def dele(session: Session, argument: bytes) -> Reply:
    """Mark a message; only QUIT removes it."""
    index = _index(session.maildrop, argument)
    if index is None:
        return NO_SUCH_MESSAGE
    session.maildrop.mark(index)
    return MARKED


def rset(session: Session, argument: bytes) -> Reply:
    """Take all marks back."""
    del argument
    session.maildrop.unmark_all()
    return DONE


def noop(session: Session, argument: bytes) -> Reply:
    """Do nothing."""
    del session, argument
    return DONE


async def quit_(session: Session, argument: bytes) -> Reply:
    """
    Enter the UPDATE state: remove what is marked, all or nothing; RFC 1939 section 6.

    The maildrop is free again before the client hears of it, so that it can come back
    at once.
    """
    del argument
    reply, marked = BYE, session.maildrop.marked()
    try:
        await session.maildrop.commit()
        session.note_removed(marked)
    except CancelledError:
        raise  # the service ends: nobody knows whether they are removed, so nothing is said
    except MailError as error:
        _log.warn("nothing was removed for {user!r}: {error}", user=session.user, error=error)
        reply = NOT_REMOVED
    except Exception:  # noqa: BLE001 - logged, and the client keeps its mail
        _log.failure("removal of messages failed")
        reply = NOT_REMOVED
    await _release(session)
    return reply


async def _release(session: Session) -> None:
    try:
        await session.maildrop.release()
    except Exception:  # noqa: BLE001 - the lease runs out by itself
        _log.failure("a maildrop could not be released")


def _number(argument: bytes) -> int | None:
    """Read a number of lines, however many; None: it is none."""
    return int(argument) if argument.isdigit() else None


def _index(maildrop: Maildrop, argument: bytes) -> int | None:
    """Find a message by its message-number; None: it is not there, or marked."""
    if not argument.isdigit() or len(argument) > _MOST_DIGITS:
        return None
    index = int(argument) - 1
    return index if 0 <= index < len(maildrop.sizes) and index not in maildrop.marks else None


def _listing(maildrop: Maildrop, lines: Callable[[Iterable[int]], list[bytes]]) -> Reply:
    """List what is not marked, in slices when it is long."""
    text = b"%d messages (%d octets)" % (maildrop.count, maildrop.octets)
    if len(maildrop) <= SLICE:
        return ok_lines(text, lines(maildrop.indexes(0, SLICE)))

    async def slices() -> AsyncIterator[bytes]:
        for start in range(0, len(maildrop), SLICE):
            yield b"".join(lines(maildrop.indexes(start, start + SLICE)))
        yield b".\r\n"

    return ok(text)._replace(rest=slices())


async def _in_pieces(session: Session, text: bytes, pieces: AsyncIterator[bytes]) -> Reply:
    """Wait for the first piece, so that an error can still be told; stuff dots into all."""
    dots = DotWriter()
    first = await anext(pieces, b"")
    if not session.understands(first):
        return NEEDS_UTF8

    async def rest() -> AsyncIterator[bytes]:
        yield dots.feed(first)
        async for piece in pieces:
            yield dots.feed(piece)
        yield dots.finish()

    return ok(text)._replace(rest=rest())


async def _cut(cutter: TopCutter, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        yield cutter.feed(piece)
        if cutter.done:
            return
