"""The avatar of a POP3 session: one user's maildrop, alone for as long as the session lasts."""

from collections.abc import AsyncIterator, Callable
from tempfile import SpooledTemporaryFile
from typing import IO, overload

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.mail import pop3
from zope.interface import implementer

from mailsvc.background import Background
from mailsvc.config.settings import Pop3Settings
from mailsvc.config.units import KIB
from mailsvc.interfaces import IMaildrops
from mailsvc.model.account import Account
from mailsvc.model.ids import MessageId
from mailsvc.model.maildrop import Snapshot
from mailsvc.pop3.bodies import AheadRoom, Bodies
from mailsvc.pop3.lease import HeldLease
from mailsvc.pop3.visits import Visits

_FILE_MEMORY = 256 * KIB


class MaildropDoor:
    """
    How POP3 receives a user: the ``receive`` of an ``auth.realm.Door``.

    Args:
        maildrops: Where the maildrops are.
        clock: Tells when to renew leases.
        background: Renews and releases leases; to be drained before the database stops.
        settings: How long a maildrop stays taken after a crash, and how soon its user may
            come back.
    """

    def __init__(
        self,
        maildrops: IMaildrops,
        clock: IReactorTime,
        background: Background,
        settings: Pop3Settings,
    ) -> None:
        self._maildrops = maildrops
        self._clock = clock
        self._background = background
        self._lease = settings.lease
        self._visits = Visits(settings.login_delay, clock.seconds)
        self._room = AheadRoom()

    def use(self, settings: Pop3Settings) -> None:
        """Hold to other settings from now on."""
        self._lease = settings.lease
        self._visits.delay = settings.login_delay

    async def receive(self, account: Account) -> "tuple[Maildrop, Callable[[], None]]":
        """
        Open the maildrop of *account*.

        Returns:
            The avatar, and what to call when the user leaves.

        Raises:
            LoginTooSoon: The user has been here a moment ago.
            MaildropInUse: Another session holds it.
            StorageFailed: The database does not answer.
        """
        self._visits.admit(account.id)
        snapshot = await self._maildrops.open(account, self._lease)
        self._visits.note(account.id)
        held = HeldLease(
            self._maildrops, snapshot.lease, self._lease, self._clock, self._background
        )
        bodies = Bodies(self._maildrops, snapshot, self._room)
        maildrop = Maildrop(self._maildrops, snapshot, held, bodies, account)

        def leave() -> None:
            self._background.start(maildrop.release(), "release of a maildrop")

        return maildrop, leave


@implementer(pop3.IMailbox)
class Maildrop:
    """
    What one session sees: the messages of its start, less those that it marked.

    Messages are named by their index, from 0; marks do not change it. The methods in
    Twisted's spelling are for callers that know ``pop3.IMailbox`` only.

    Args:
        maildrops: Where the mail is.
        snapshot: What was there when the session began.
        held: The right to be alone in it.
        bodies: Where bodies come from.
        account: Whose it is.
    """

    __slots__ = (
        "_bodies",
        "_maildrops",
        "_snapshot",
        "account",
        "count",
        "held",
        "marks",
        "messages",
        "octets",
        "reply",
        "sizes",
    )

    def __init__(
        self,
        maildrops: IMaildrops,
        snapshot: Snapshot,
        held: HeldLease,
        bodies: Bodies,
        account: Account,
    ) -> None:
        self._maildrops = maildrops
        self._snapshot = snapshot
        self._bodies = bodies
        self.marks: set[int] = set()
        """What is marked; ``mark`` adds to it."""
        self.sizes = snapshot.octets
        """The octets of each message on the wire, before dot-stuffing."""
        self.messages = snapshot.messages
        """The number of each message's body."""
        self.account = account
        self.held = held
        held.on_renewal = bodies.forget_unused
        self.reply = bodies.reply
        """Gives the reply to RETR; None: it needs waiting, ask for the ``whole``."""
        self.count = len(snapshot)
        """Messages that are not marked."""
        self.octets = sum(snapshot.octets)
        """Their octets."""

    def __len__(self) -> int:
        """Count the messages, marked ones included: the highest message-number."""
        return len(self._snapshot)

    def indexes(self, start: int, end: int) -> list[int]:
        """List the messages from *start* to before *end* that are not marked."""
        span = range(start, min(end, len(self._snapshot)))
        return [index for index in span if index not in self.marks] if self.marks else [*span]

    def uidl(self, index: int) -> bytes:
        """Tell the unique-id of a message; RFC 1939 section 7."""
        return self._snapshot.uidl(index).encode("ascii")

    def look_ahead(self) -> None:
        """Make ready what the client will probably ask for next."""
        self._bodies.look_ahead(self.marks)

    async def whole(self, index: int, *, keep: bool = False) -> bytes | None:
        """Fetch a body, None when it is stored in chunks; more in ``Bodies.whole``."""
        return await self._bodies.whole(index, self.marks, keep=keep)

    def chunks(self, index: int) -> AsyncIterator[bytes]:
        """Fetch a body that is stored in chunks; errors as in ``Bodies.whole``."""
        return self._bodies.chunks(index)

    def mark(self, index: int) -> None:
        """Mark a message that is there for removal at QUIT."""
        self.marks.add(index)
        self.count -= 1
        self.octets -= self._snapshot.octets[index]

    def unmark_all(self) -> None:
        """Take all marks back."""
        self.count += len(self.marks)
        self.octets += sum(self._snapshot.octets[index] for index in self.marks)
        self.marks.clear()

    async def commit(self) -> int:
        """
        Remove what is marked, in one transaction.

        Returns:
            How many messages were removed.

        Raises:
            MailError: Nothing was removed.
        """
        removed = len(self.marks)
        if removed:
            uids = [self._snapshot.uids[index] for index in sorted(self.marks)]
            await self._maildrops.expunge(self._snapshot.lease, uids)
        return removed

    def marked(self) -> list[MessageId]:
        """Give the numbers of the messages that are marked."""
        return [MessageId(self.messages[index]) for index in sorted(self.marks)]

    async def release(self) -> None:
        """Let the next session in; harmless the second time."""
        self._bodies.forget()
        await self.held.release()

    # pop3.IMailbox

    @overload
    def listMessages(self, i: None = None) -> list[int]: ...
    @overload
    def listMessages(self, i: int) -> int: ...
    def listMessages(self, i: int | None = None) -> int | list[int]:
        """Tell the octets of one message or of each; 0: marked."""
        if i is None:
            return [0 if one in self.marks else self.sizes[one] for one in range(len(self))]
        return 0 if self._checked(i) in self.marks else self.sizes[i]

    def getMessage(self, index: int) -> "Deferred[IO[bytes]]":
        """Give a file with the content, from its start; fails with ``MessageGone``."""
        return Deferred.fromCoroutine(self._file_of(self._checked(index)))

    def getUidl(self, index: int) -> bytes:
        """Tell the unique-id of a message."""
        return self.uidl(self._checked(index))

    def deleteMessage(self, index: int) -> None:
        """Mark a message for removal; harmless the second time."""
        if self._checked(index) not in self.marks:
            self.mark(index)

    def undeleteMessages(self) -> None:
        """Take all marks back."""
        self.unmark_all()

    def sync(self) -> "Deferred[int]":
        """Remove what is marked; fires with how many that were, after the commit."""
        return Deferred.fromCoroutine(self.commit())

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self._snapshot):
            raise ValueError(f"there is no message at {index}")
        return index

    async def _file_of(self, index: int) -> IO[bytes]:
        file = SpooledTemporaryFile(max_size=_FILE_MEMORY)  # noqa: SIM115 - the caller closes it
        whole = await self.whole(index)
        if whole is not None:
            file.write(whole)
        else:
            async for chunk in self.chunks(index):
                file.write(chunk)
        file.seek(0)
        return file
