"""The state of one SMTP connection; knows no socket."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from twisted.cred.portal import Portal
from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from mailsvc.auth.sasl import LONGEST_RESPONSE
from mailsvc.config.settings import (
    Kind,
    LimitSettings,
    LineEnds,
    LoginSettings,
    Relay,
    SmtpSettings,
)
from mailsvc.errors import MailError, StorageFailed, StorageFull, TooBusy
from mailsvc.interfaces import IAuthenticator, IContent, IDirectory, IIntake, IRules
from mailsvc.model.account import Account
from mailsvc.model.address import Address
from mailsvc.model.channel import PLAIN_TEXT, Channel
from mailsvc.model.envelope import Client, Envelope, Recipient
from mailsvc.model.ids import FolderId
from mailsvc.model.status import Status
from mailsvc.model.story import Happening, Tell, untold
from mailsvc.policy.allowance import Limits
from mailsvc.policy.relay import may_log_in
from mailsvc.smtp import replies
from mailsvc.smtp.parameters import NO_MAIL_PARAMETERS, MailParameters
from mailsvc.smtp.replies import Chunk, Reply

LONGEST_COMMAND = 2048
"""Octets with CRLF: 512 of RFC 5321 section 4.5.3.1.4 and room for extensions."""
STORED = Status(2, 0, 0)
_PATIENT_UNTIL = 2
"""Errors that are answered at once: anybody may mistype."""


class OpenArrival(Protocol):
    """A message that comes by BDAT, as its session sees it."""

    trouble: Reply | None

    def feed(self, octets: bytes) -> None:
        """Take the next octets."""

    async def finish(self) -> Reply:
        """Hand the message over and answer for it."""

    def close(self) -> None:
        """Give memory and disk back."""


@dataclass
class SmtpHouse:
    """
    What all sessions of one listener share; settings and names change while they are open.

    Args:
        kind: Mail from other servers, or from our users.
        hostname: Our name.
        settings: Limits and time-outs.
        login: Rules for logins.
        directory: Finds recipients.
        intake: Takes messages.
        portal: Where users come in; for Twisted's own protocols.
        authenticator: Takes logins.
        has_room: Whether the disk has room for so many octets more.
        limits: What one client and one login may do; the same for all listeners.
        tell: Takes down who is refused.
        rules: Keep clients, senders and recipients out; None: there are none.
        relay: Who may send to other servers.
    """

    kind: Kind
    hostname: str
    settings: SmtpSettings
    login: LoginSettings
    directory: IDirectory
    intake: IIntake
    portal: Portal
    authenticator: IAuthenticator
    has_room: Callable[[int], bool]
    limits: Limits = field(default_factory=lambda: Limits(LimitSettings()))
    tell: Tell = untold
    rules: IRules | None = None
    relay: Relay = Relay.USERS

    @property
    def repairs(self) -> bool:
        """Whether a bare CR or LF becomes CRLF."""
        return (
            self.kind is Kind.SUBMISSION and self.settings.submission_line_ends is LineEnds.REPAIR
        )


class Session:
    """
    One client, from its greeting to its QUIT.

    Args:
        house: What it shares with the others.
        client: Who it is.
        channel: What it talks over.
        starttls: Whether it may switch to TLS.
    """

    __slots__ = (
        "accepted",
        "arrival",
        "awaiting",
        "channel",
        "client",
        "errors",
        "exempt",
        "failed_logins",
        "has_sender",
        "helo",
        "house",
        "login",
        "logout",
        "mail_parameters",
        "messages",
        "parameters",
        "protocol",
        "rcpt_parameters",
        "recipients",
        "sender",
        "starttls",
    )
    _log = Logger()

    def __init__(
        self,
        house: SmtpHouse,
        client: Client,
        channel: Channel = PLAIN_TEXT,
        *,
        starttls: bool = False,
    ) -> None:
        self.house = house
        self.client = client
        self.channel = channel
        """What the client talks over: TLS or not, and what binds a login to it."""
        self.starttls = starttls
        """Whether the listener offers STARTTLS."""
        self.helo = ""
        """The argument of HELO or EHLO; empty: it was not said."""
        self.protocol = "SMTP"
        """SMTP, ESMTP or LMTP."""
        self.mail_parameters: frozenset[str] = frozenset()
        """What EHLO has announced for MAIL."""
        self.rcpt_parameters: frozenset[str] = frozenset()
        """What EHLO has announced for RCPT."""
        self.login: Account | None = None
        self.logout: Callable[[], None] | None = None
        self.awaiting: Callable[[Session, bytes], Awaitable[Reply]] | None = None
        """Takes the next line, which is no command but the answer to a challenge."""
        self.exempt = house.kind is Kind.LMTP or house.limits.exempts(client.ip)
        """Whether the client is spared the limits of clients."""
        self.errors = 0
        self.failed_logins = 0
        self.messages = 0
        """Messages that were accepted."""
        self.arrival: OpenArrival | None = None
        """The message whose BDAT LAST is still to come."""
        self.forget_envelope()

    @property
    def secure(self) -> bool:
        """Whether the connection has TLS."""
        return self.channel.secure

    def begin_again(self, channel: Channel) -> None:
        """Forget what was said before TLS: anybody may have said it; RFC 3207 section 4.2."""
        self.leave()
        self.channel = channel
        self.helo = ""
        self.protocol = "SMTP"
        self.mail_parameters = self.rcpt_parameters = frozenset()
        self.login = None
        self.awaiting = None
        self.forget_envelope()

    def forget_envelope(self) -> None:
        """Start a new transaction; RFC 5321 section 4.1.1.5."""
        self.has_sender = False
        self.sender: Address | None = None
        self.parameters = NO_MAIL_PARAMETERS
        self.recipients: dict[Address, Recipient] = {}
        self.accepted: list[Address] = []
        """The address of each RCPT that got a 250, in order."""
        if self.arrival is not None:
            self.arrival.close()
            self.arrival = None

    def begin(self, sender: Address | None, parameters: MailParameters) -> None:
        """Open a transaction: MAIL was accepted."""
        self.sender = sender
        self.parameters = parameters
        self.has_sender = True

    def add(self, recipient: Recipient) -> None:
        """Add a recipient to the transaction: RCPT was accepted."""
        self.recipients[recipient.address] = recipient
        self.accepted.append(recipient.address)

    @property
    def may_log_in(self) -> bool:
        """Whether a login is offered on this connection."""
        return self.house.kind is Kind.SUBMISSION and may_log_in(
            self.client, self.house.login.without_tls, secure=self.secure
        )

    @property
    def longest_line(self) -> int:
        """Octets of the next line, CRLF included."""
        return LONGEST_RESPONSE if self.house.kind is Kind.SUBMISSION else LONGEST_COMMAND

    def greeting(self) -> Reply:
        """Say who we are; RFC 5321 section 4.3.1."""
        speaks = "LMTP" if self.house.kind is Kind.LMTP else "ESMTP"
        return Reply(220, None, (f"{self.house.hostname} {speaks} mailsvc",))

    def admit_message(self) -> None:
        """
        Count a message at MAIL, when nothing else speaks against it.

        Raises:
            TooMuchMail: The client or the login must slow down.
        """
        if self.login is not None or not self.exempt:
            self.house.limits.take_message(self._counted_ip, self.login)

    def admit_recipient(self) -> None:
        """
        Count a recipient at RCPT; as ``admit_message``.

        Raises:
            TooManyRecipients: This one must wait; those before it are accepted.
        """
        if self.login is not None or not self.exempt:
            self.house.limits.take_recipient(self._counted_ip, self.login)

    @property
    def _counted_ip(self) -> str | None:
        """Whom mail from other servers counts against; users are counted by their login."""
        return self.client.ip if self.house.kind is Kind.SMTP and not self.exempt else None

    async def finish(self, content: IContent) -> Reply:
        """
        Hand the complete message over; the one call down.

        Returns:
            250 after the commit; with LMTP a reply for each recipient.
        """
        envelope = self._envelope()
        if self._is_too_late(envelope):
            return self.answer_all(replies.TOO_LATE)
        if not self.house.has_room(content.octets):
            raise StorageFull
        if self.house.kind is Kind.LMTP:
            return await self._finish_each(envelope, content)
        return await self._accept(envelope, content)

    async def _accept(self, envelope: Envelope, content: IContent) -> Reply:
        receipt = await self.house.intake.accept(envelope, content)
        self.messages += 1
        return Reply(250, STORED, (f"OK, stored as {receipt.queue_id}",))

    async def _finish_each(self, envelope: Envelope, content: IContent) -> Reply:
        """Answer for each recipient; a full mailbox keeps nobody else's mail out."""
        try:
            together = await self._accept(envelope, content)
        except (StorageFailed, StorageFull, TooBusy):
            # It is no single recipient's trouble; and after a commit that broke off, a second
            # try could be a second copy.
            raise
        except MailError as error:
            if len(envelope.recipients) == 1:
                raise
            self._log.info("one by one, for not together: {error}", error=str(error))
        else:
            return self.answer_all(together)
        answers: dict[Address, Reply] = {}
        stored: dict[FolderId, Reply] = {}
        for recipient in envelope.recipients:
            answer = await self._finish_rest(envelope, recipient, content, stored)
            answers[recipient.address] = answer
        return replies.for_each([answers[address] for address in self.accepted])

    async def _finish_rest(
        self,
        envelope: Envelope,
        recipient: Recipient,
        content: IContent,
        stored: dict[FolderId, Reply],
    ) -> Reply:
        """Give it to those behind one recipient who do not have it yet: one mailbox, one copy."""
        inboxes = {one.inbox: one for one in recipient.accounts}
        have = [stored[inbox] for inbox in inboxes if inbox in stored]
        missing = tuple(one for inbox, one in inboxes.items() if inbox not in stored)
        if not (missing or recipient.remote):
            return have[0]
        left = recipient._replace(accounts=missing)
        answer = await self._finish_alone(envelope, left, content)
        if not answer.refuses:
            stored |= dict.fromkeys((one.inbox for one in missing), answer)
        elif have and replies.is_mailbox_full(answer):
            # Who is full among several is left out, as when all are served together.
            return have[0]
        return answer

    async def _finish_alone(
        self, envelope: Envelope, recipient: Recipient, content: IContent
    ) -> Reply:
        """Answer for one recipient; one's trouble is not another's."""
        try:
            return await self._accept(envelope._replace(recipients=(recipient,)), content)
        except CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - told to the client and logged by explain
            return self.explain(error, "a message")

    def answer_all(self, reply: Reply) -> Reply:
        """Give the one answer to a message; with LMTP as often as it has recipients."""
        if self.house.kind is not Kind.LMTP or not self.accepted:
            return reply
        return replies.for_each([reply] * len(self.accepted))

    @staticmethod
    def _is_too_late(envelope: Envelope) -> bool:
        """Whether the sender wants it back by now; RFC 2852 section 4.1."""
        deadline = envelope.deliver_by
        return deadline is not None and deadline.returns and deadline.until < envelope.received

    async def answer_chunk(self, chunk: Chunk) -> Reply:
        """Answer a BDAT whose octets have all been read; RFC 3030 section 2."""
        arrival = self.arrival
        if chunk.refusal is not None or arrival is None:
            return self.judge(chunk.refusal or replies.MAIL_FIRST)
        if chunk.last:
            return await arrival.finish()
        if arrival.trouble is not None:
            # The rest of the message is refused as well. One reply, with LMTP, too: there is
            # one for each recipient behind LAST only; RFC 2033 section 4.3.
            refusal = self.judge(arrival.trouble)
            self.forget_envelope()
            return refusal
        return Reply(250, STORED, (f"{chunk.octets} octets received",))

    def judge(self, reply: Reply) -> Reply:
        """
        Count refusals, and send a client away that has too many.

        A recipient above the limit is no error: the client sends to those that were accepted,
        and the rest later; RFC 5321 section 4.5.3.1.10.
        """
        if reply.refuses and not replies.is_one_recipient_too_many(reply):
            self.errors += 1
            if self.errors >= self.house.settings.most_errors:
                return replies.too_many_errors(reply)
        return reply

    def holds_back(self, reply: Reply) -> bool:
        """Whether a refusal, which is counted already, must wait in the tarpit."""
        return (
            self.errors > _PATIENT_UNTIL
            and not self.exempt
            and self.house.settings.tarpit > 0
            and not replies.is_one_recipient_too_many(reply)
        )

    def explain(self, error: Exception, doing: str) -> Reply:
        """Turn what went wrong into a reply; what is no ``MailError`` is our fault: 451."""
        if isinstance(error, MailError):
            reply = replies.from_error(error)
        else:
            self._log.failure("{doing} failed", doing=doing)
            reply = replies.OUR_FAULT
        self._log_refused(reply, doing)
        if doing.startswith(("MAIL", "RCPT")):
            self._tell_refused(reply, doing)
        return reply

    def note_refused(self, reply: Reply) -> None:
        """Take down a message whose content is no mail; of others the intake tells."""
        self._log_refused(reply, "a message")
        for address in self.accepted:
            self._tell(reply, str(self.sender or ""), str(address))

    def _log_refused(self, reply: Reply, doing: str) -> None:
        self._log.info(
            "refused {doing} from {client}: {code} {text}",
            doing=doing,
            client=self.client.ip,
            code=reply.code,
            text=reply.lines[0],
        )

    def _tell_refused(self, reply: Reply, doing: str) -> None:
        """Take down that a sender or a recipient was refused."""
        path = doing.partition("<")[2].partition(">")[0]
        if doing.startswith("MAIL"):
            self._tell(reply, path, "")
        else:
            self._tell(reply, str(self.sender or ""), path)

    def _tell(self, reply: Reply, sender: str, recipient: str) -> None:
        self.house.tell(
            Happening(
                "refused",
                self.client.ip,
                None if self.login is None else self.login.id,
                sender=sender,
                recipient=recipient,
                status=str(reply.status or ""),
                detail=f"{reply.code} {reply.lines[0]}",
            )
        )

    def leave(self) -> None:
        """Give back what a login took."""
        if self.logout is not None:
            self.logout()
            self.logout = None
        self.forget_envelope()

    @property
    def _with(self) -> str:
        """The ``with`` keyword of Received; RFC 3848, RFC 6531 section 4.3."""
        utf8 = "UTF8" if self.parameters.utf8 else ""
        secure, login = self.secure, self.login is not None
        if self.protocol == "LMTP":
            base = "LMTP"
        elif utf8 or not (secure or login or self.protocol == "ESMTP"):
            base = "SMTP"
        else:
            base = "ESMTP"
        return f"{utf8}{base}{'S' if secure else ''}{'A' if login else ''}"

    def _envelope(self) -> Envelope:
        return Envelope(
            client=self.client,
            helo=self.helo,
            protocol=self._with,
            login=self.login,
            sender=self.sender,
            recipients=tuple(self.recipients.values()),
            body=self.parameters.body,
            received=datetime.now(UTC),
            cipher=self.channel.cipher,
            utf8=self.parameters.utf8,
            returns=self.parameters.returns,
            identifier=self.parameters.identifier,
            require_tls=self.parameters.require_tls,
            deliver_by=self.parameters.deliver_by,
        )
