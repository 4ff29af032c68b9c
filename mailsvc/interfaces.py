"""
The doors between the rooms: who calls what, in which order, and what an error means.

Unless an interface says otherwise: coroutines run on the reactor's thread, any number of
them at once; a ``MailError`` may be told to a peer; every other exception is a fault of ours.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

from twisted.internet.defer import DeferredLock
from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface

from mailsvc.config.settings import Settings
from mailsvc.model.account import Account, Scope
from mailsvc.model.address import Address
from mailsvc.model.channel import Channel
from mailsvc.model.dkim import SigningKey
from mailsvc.model.envelope import Client, Envelope
from mailsvc.model.headers import Headers
from mailsvc.model.ids import AccountId, MessageId
from mailsvc.model.listener import ListenerState
from mailsvc.model.log import LogFilter, LogPart
from mailsvc.model.login import Challenge, LoggedIn
from mailsvc.model.maildrop import Lease, Snapshot
from mailsvc.model.queued import Letter, Queued, QueueLease
from mailsvc.model.quota import Usage
from mailsvc.model.receipt import Receipt
from mailsvc.model.route import Route
from mailsvc.model.session import Ending, SessionState
from mailsvc.model.switch import Switch
from mailsvc.model.verdict import Verdict


class IContent(Interface):
    """
    The content of one message in arrival, complete: CRLF lines, without dot-stuffing.

    Read it as often as needed, from any one thread at a time; whoever made it closes it.
    """

    octets: int = Attribute("Size in octets.")

    def head(limit: int) -> bytes:
        """Give at most the first *limit* octets."""

    def pieces(size: int) -> Iterator[bytes]:
        """Give everything from the start, *size* octets at a time, the last one shorter."""


class ISwitchboard(Interface):
    """Opens and closes listeners."""

    async def switch(switches: Mapping[str, Switch]) -> None:
        """
        Open or close listeners, by name; those that are as they should be stay so.

        What a session of a closed one has under way is answered first, then it ends.

        Raises:
            NotFound: There is no such listener.
            CommandError: A port cannot be opened; the text says why.
        """

    def listeners() -> Sequence[ListenerState]:
        """Tell the state of every listener, in the order of config.yaml."""

    def sessions() -> Sequence[SessionState]:
        """Tell every open session."""

    def end(numbers: Sequence[int], why: Ending) -> None:
        """End sessions by their numbers, as soon as what each has under way is answered."""


class ILiveSettings(Interface):
    """The settings in force, and how they become others."""

    lock: DeferredLock = Attribute("Whoever changes settings or switches holds it.")
    file: Settings = Attribute("What config.yaml says.")
    current: Settings = Attribute("What is in force.")
    left_out: Mapping[str, str] = Attribute("Changes that do not fit config.yaml, and why.")

    def trying(settings: Settings) -> AbstractAsyncContextManager[None]:
        """
        Put other settings in force when what is done meanwhile succeeds; hold the lock.

        Raises:
            CommandError: They cannot be: a port is taken, a file cannot be read. All is
                as it was.
        """


class ILogBook(Interface):
    """The log files of this daemon; ``model.log.LOGS`` names them."""

    async def read(name: str, after: str, only: LogFilter) -> LogPart:
        """
        Read a part of a log; *after* is what the part before gave as ``next``.

        Raises:
            CommandError: *after* is no place in it, or it cannot be read.
        """

    def clear(name: str) -> None:
        """
        Remove all its lines, rotated files included.

        Raises:
            CommandError: They cannot be removed.
        """


class IRules(Interface):
    """The rules of administrators; they answer at once."""

    def admits(ip: str, scope: Scope) -> bool:
        """Tell whether a client may connect to a front end."""

    def lets_in(account: Account, scope: Scope) -> bool:
        """Tell whether a user may log in to a front end."""

    def check_sender(address: Address) -> None:
        """
        Look at the reverse-path of MAIL.

        Raises:
            SenderDenied: A rule refuses it.
        """

    def check_recipient(address: Address) -> None:
        """
        Look at the forward-path of RCPT.

        Raises:
            RecipientDenied: A rule refuses it.
        """


class IDirectory(Interface):
    """Finds accounts; answers from memory where it can, a few seconds old at most."""

    async def find(address: Address, *, fresh: bool = False) -> Account | None:
        """
        Look up the account whose own *address* is: its user logs in and sends with it.

        Aliases of the account count; groups, forwards and catch-alls do not: see ``route``.
        Subaddresses count, where they are switched on: ``alice+tag`` is alice (RFC 5233).
        ``postmaster`` of a local domain always exists: an administrator gets its mail
        when no account has that name; RFC 5321 section 4.5.1.

        Args:
            address: Whose.
            fresh: What other nodes have changed counts at once, here and in ``by_id``.

        Raises:
            StorageFailed: The database does not answer.
        """

    async def by_id(account: AccountId) -> Account | None:
        """Look up an account by its number; same errors as ``find``."""

    async def route(address: Address) -> Route:
        """
        Find the mailboxes that get the mail for *address*, whose domain is local.

        Aliases, groups, forwards and catch-alls are followed, and subaddresses and
        ``postmaster`` count as in ``find``; same errors.
        """

    async def usage(account: AccountId, *, fresh: bool = False) -> Usage:
        """Tell what an account holds; *fresh*: now, whatever is remembered. Errors as ``find``."""

    async def is_local(domain: str) -> bool:
        """Tell whether *domain* is one of ours and enabled; same errors as ``find``."""

    async def is_disabled(domain: str) -> bool:
        """Tell whether *domain* is one of ours that is switched off; same errors as ``find``."""

    async def signing_keys(domain: str) -> tuple[SigningKey, ...]:
        """Give the keys that sign the mail of a domain; same errors as ``find``."""

    def secret() -> bytes:
        """Give what all nodes share, and nobody else: it signs rewritten senders."""

    async def home() -> str | None:
        """Give the domain of user names that have none; None: there is no domain yet."""

    async def shortest_keep() -> int | None:
        """
        Tell the fewest days that any account keeps the mail of its inbox; None: all for ever.

        For EXPIRE before a login, RFC 2449 section 6.7; afterwards ``Account.keep_days`` is
        the user's own. Same errors as ``find``.
        """


class IIntake(Interface):
    """The one way for a message into the service."""

    async def accept(envelope: Envelope, content: IContent) -> Receipt:
        """
        Take responsibility for a message; RFC 5321 section 6.1.

        Returns:
            After the commit only: every recipient has it, or none.

        Raises:
            MailError: Nobody has it; the status says whether to try again.
        """


class IDepartures(Interface):
    """Takes what leaves for other servers while its content is still in memory."""

    def reserve(rows: Sequence[Queued], octets: int) -> QueueLease | None:
        """
        Make room for the rows of a message that is about to be stored.

        Returns:
            With this lease they are stored, then ``take`` or ``give_up`` follows; None: they are
            stored as any other, then ``look`` follows.
        """

    def take(rows: Sequence[Queued], letter: Letter) -> None:
        """Send them now: they are stored."""

    def give_up(rows: Sequence[Queued], octets: int) -> None:
        """Give the room back: they were not stored, or nobody knows."""

    def look() -> None:
        """Look for new rows in the database."""


class IExchange(Interface):
    """
    One login, from its first response to its end; RFC 4422 section 3.

    One step at a time, in order. After an exception, after ``LoggedIn`` and when the client
    cancels it is over: drop it, nothing is held.
    """

    who: str = Attribute(
        "Behind the end: who has logged in, or failed to, with the domain; for the log."
    )
    prompt: bytes = Attribute("The challenge for a client that sends no first response.")

    async def step(response: bytes) -> Challenge | LoggedIn:
        """
        Take the client's next response, decoded; it may be empty.

        Returns:
            What to ask next, or the avatar: the front end logs it out in the end.

        Raises:
            BadResponse: It breaks the grammar of the mechanism.
            LoginFailed: Unknown user, wrong password, or another wrong proof.
            LoginForbidden: The user may not use this front end.
            TooManyFailures: Client or account must wait; nothing was looked at.
            MailError: It cannot be said now, such as ``TooBusy`` and ``MaildropInUse``.
        """


class IAuthenticator(Interface):
    """All ways to log in; each front end says them in its own protocol."""

    def mechanisms(channel: Channel) -> Sequence[str]:
        """
        Name the SASL mechanisms that a connection can use, strongest first.

        Whether a login is allowed there at all is the front end's matter.
        """

    def begin(
        mechanism: str,
        client: Client,
        channel: Channel,
        interface: type[Interface],
        called: str = "",
    ) -> "IExchange | None":
        """
        Begin a login.

        Args:
            mechanism: Its name in capital letters.
            called: What it is taken down as; empty: by that name.
            client: Who logs in.
            channel: Over what; with its channel bindings.
            interface: What the avatar is to provide.

        Returns:
            None: there is no such mechanism on this channel.
        """


class IMaildrops(Interface):
    """POP3's view of the inboxes; RFC 1939 section 4."""

    async def open(account: Account, lease: float) -> Snapshot:
        """
        Take the maildrop for one session and list it, in one transaction.

        Args:
            account: Whose maildrop.
            lease: Seconds after which the lease of a session that died is void.

        Raises:
            MaildropInUse: Another session holds it.
            StorageFailed: The database does not answer.
        """

    async def renew(lease: Lease, seconds: float) -> bool:
        """Hold the maildrop for *seconds* more; False: the lease was lost."""

    async def release(lease: Lease) -> None:
        """Let the next session in; harmless when the lease is lost."""

    async def read(messages: Sequence[MessageId], octets: int) -> Mapping[MessageId, bytes | None]:
        """
        Fetch bodies that are stored in one piece, all together.

        Args:
            messages: Which.
            octets: Their sizes together.

        Returns:
            None for a body that is stored in chunks: use ``read_chunk``. A message that
            is gone is missing.
        """

    def glance(
        messages: Sequence[MessageId], octets: int
    ) -> Mapping[MessageId, bytes | None] | None:
        """Fetch bodies as ``read`` does, in a moment; None: that is not possible now."""

    async def read_chunk(message: MessageId, number: int) -> bytes | None:
        """Fetch one chunk of a large body, counted from 0; None behind the last one."""

    async def expunge(lease: Lease, uids: Sequence[int]) -> None:
        """
        Remove messages from the maildrop in one transaction, all or none.

        Raises:
            MaildropInUse: The lease was lost; nothing was removed.
            StorageFailed: Nothing was removed.
        """


class Incoming(NamedTuple):
    """A message as a filter sees it: complete, not yet stored."""

    envelope: Envelope
    headers: Headers
    content: IContent


class IFilter(Interface):
    """
    Judges messages and changes nothing.

    One object judges many messages at once, so it keeps no state between them.
    """

    async def judge(mail: Incoming) -> Verdict:
        """
        Say what to do with *mail*.

        An exception counts as "try again later" for this message and is logged.
        """


class IFilterMaker(IPlugin):
    """Announces one kind of filter; found by ``twisted.plugin`` in ``mailsvc.plugins``."""

    name: str = Attribute("How config.yaml calls it.")

    def make(options: Mapping[str, Any]) -> IFilter:
        """
        Make a filter with the options of config.yaml.

        Raises:
            ConfigError: An option is unknown or impossible; the text says which.
        """
