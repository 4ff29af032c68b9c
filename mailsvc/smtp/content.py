"""The content of one message on its way from the wire to the spool."""

import re

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from mailsvc.smtp import replies
from mailsvc.smtp.replies import Reply
from mailsvc.smtp.session import Session
from mailsvc.spool import Spool, SpoolRoom
from mailsvc.wire.dots import DotReader

_LINE_END = re.compile(rb"\r\n|\r|\n")


class Arrival:
    """
    Takes the content of DATA until CRLF.CRLF.

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
        self._reader = DotReader()
        self._trouble: Reply | None = None

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
        if self._trouble is not None or not piece:
            return
        house = self._session.house
        if not self._reader.clean:
            if not house.repairs:
                self._give_up(replies.BAD_LINE_ENDS)
                return
            piece = _LINE_END.sub(b"\r\n", piece.replace(b"\0", b""))
        if self._spool.octets + len(piece) > house.settings.largest_message:
            self._give_up(replies.TOO_BIG)
            return
        try:
            self._spool.write(piece)
        except OSError as error:
            self._log.error("the spool cannot be written: {error}", error=str(error))
            self._give_up(replies.STORAGE_FULL)

    async def finish(self) -> Reply:
        """Hand the message over and answer for it; never raises."""
        try:
            if self._trouble is not None:
                self._session.forget_envelope()
                return self._session.judge(self._trouble)
            return self._session.judge(await self._session.finish(self._spool))
        except CancelledError:
            # The service ends and cannot wait any longer. Whether the message is stored nobody
            # knows, so nothing is said: the client asks again.
            raise
        except Exception as error:  # noqa: BLE001 - told to the client and logged by explain
            return self._session.judge(self._session.explain(error, "a message"))
        finally:
            self.close()

    def close(self) -> None:
        """Give memory and disk back."""
        self._spool.close()

    def _give_up(self, trouble: Reply) -> None:
        self._trouble = trouble
        self._spool.close()
