"""The content of one message on its way from the wire to the spool."""

import re

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from mailsvc.model.envelope import Body
from mailsvc.smtp import replies
from mailsvc.smtp.replies import Reply
from mailsvc.smtp.session import Session
from mailsvc.spool import Spool, SpoolRoom
from mailsvc.wire.chunks import ChunkReader
from mailsvc.wire.dots import DotReader

_LINE_END = re.compile(rb"\r\n|\r|\n")


class Arrival:
    """
    A message that is coming in.

    Whatever is wrong with it, it is read to its end: the tail of a message is never taken
    for commands.

    Args:
        session: Whose message.
        room: Where it is spooled.
    """

    _log = Logger()

    def __init__(self, session: Session, room: SpoolRoom) -> None:
        self._session = session
        self._spool = Spool(room)
        self.trouble: Reply | None = None
        """Why it cannot be taken; None: nothing is wrong so far."""

    def add(self, piece: bytes, *, clean: bool) -> None:
        """
        Take the next piece, which does not end between CR and LF.

        Args:
            clean: False: there was a bare CR, a bare LF or a NUL, in it or before.
        """
        if self.trouble is not None or not piece:
            return
        session = self._session
        if not clean and session.parameters.body is not Body.BINARY:
            if not session.house.repairs:
                self._give_up(replies.BAD_LINE_ENDS)
                return
            piece = _LINE_END.sub(b"\r\n", piece.replace(b"\0", b""))
        if self._spool.octets + len(piece) > session.house.settings.largest_message:
            self._give_up(replies.TOO_BIG)
            return
        try:
            self._spool.write(piece)
        except OSError as error:
            self._log.error("the spool cannot be written: {error}", error=str(error))
            self._give_up(replies.STORAGE_FULL)

    async def finish(self) -> Reply:
        """Hand the message over and answer for it; never raises."""
        session = self._session
        try:
            if self.trouble is not None:
                session.note_refused(self.trouble)
                return session.judge(session.answer_all(self.trouble))
            return session.judge(await session.finish(self._spool))
        except CancelledError:
            # The service ends and cannot wait any longer. Whether the message is stored nobody
            # knows, so nothing is said: the client asks again.
            raise
        except Exception as error:  # noqa: BLE001 - told to the client and logged by explain
            return session.judge(session.answer_all(session.explain(error, "a message")))
        finally:
            self.close()
            session.forget_envelope()

    def close(self) -> None:
        """Give memory and disk back."""
        self._spool.close()

    def _give_up(self, trouble: Reply) -> None:
        self.trouble = trouble
        self._spool.close()


class DottedArrival(Arrival):
    """The content of DATA: until CRLF.CRLF."""

    def __init__(self, session: Session, room: SpoolRoom) -> None:
        super().__init__(session, room)
        self._reader = DotReader()

    @property
    def done(self) -> bool:
        """Whether the end was seen."""
        return self._reader.done

    @property
    def rest(self) -> bytes:
        """What came behind the end: the next commands."""
        return self._reader.rest

    def feed(self, octets: bytes) -> None:
        """Take the next octets of the wire."""
        piece = self._reader.feed(octets)
        self.add(piece, clean=self._reader.clean)


class ChunkedArrival(Arrival):
    """The content of one BDAT after the other, until LAST."""

    def __init__(self, session: Session, room: SpoolRoom) -> None:
        super().__init__(session, room)
        self._reader = ChunkReader()

    def feed(self, octets: bytes) -> None:
        """Take the next octets of a chunk."""
        piece = self._reader.feed(octets)
        self.add(piece, clean=self._reader.clean)

    async def finish(self) -> Reply:
        """Take what was held back, then do as any other."""
        text = self._session.parameters.body is not Body.BINARY
        self.add(self._reader.finish(text=text), clean=self._reader.clean)
        return await super().finish()
