"""The state of one SMTP connection; knows no socket."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from twisted.cred.portal import Portal
from twisted.logger import Logger

from mailsvc.config.settings import Kind, LineEnds, LoginSettings, SmtpSettings
from mailsvc.errors import MailError, StorageFull
from mailsvc.interfaces import IContent, IDirectory, IIntake
from mailsvc.model.account import Account
from mailsvc.model.address import Address
from mailsvc.model.envelope import Body, Client, Envelope, Recipient
from mailsvc.model.status import Status
from mailsvc.policy.relay import may_log_in
from mailsvc.smtp import replies
from mailsvc.smtp.replies import Reply

LONGEST_COMMAND = 2048
"""Octets with CRLF: 512 of RFC 5321 section 4.5.3.1.4 and room for extensions."""
STORED = Status(2, 0, 0)
LONGEST_AUTH = 12_288
"""Octets with CRLF; RFC 4954 section 4."""


@dataclass(frozen=True)
class SmtpHouse:
    """
    What all sessions of one listener share.

    Args:
        kind: Mail from other servers, or from our users.
        hostname: Our name.
        settings: Limits and time-outs.
        login: Rules for logins.
        directory: Finds recipients.
        intake: Takes messages.
        portal: Takes logins.
        has_room: Whether the disk has room for so many octets more.
    """

    kind: Kind
    hostname: str
    settings: SmtpSettings
    login: LoginSettings
    directory: IDirectory
    intake: IIntake
    portal: Portal
    has_room: Callable[[int], bool]

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
        secure: Whether the connection has TLS.
    """

    __slots__ = (
        "awaiting",
        "body",
        "client",
        "errors",
        "failed_logins",
        "has_sender",
        "helo",
        "house",
        "login",
        "logout",
        "messages",
        "protocol",
        "recipients",
        "secure",
        "sender",
    )
    _log = Logger()

    def __init__(self, house: SmtpHouse, client: Client, *, secure: bool) -> None:
        self.house = house
        self.client = client
        self.secure = secure
        self.helo = ""
        """The argument of HELO or EHLO; empty: it was not said."""
        self.protocol = "SMTP"
        """SMTP or ESMTP."""
        self.login: Account | None = None
        self.logout: Callable[[], None] | None = None
        self.awaiting: Callable[[Session, bytes], Awaitable[Reply]] | None = None
        """Takes the next line, which is no command but the answer to a challenge."""
        self.errors = 0
        self.failed_logins = 0
        self.messages = 0
        """Messages that were accepted."""
        self.forget_envelope()

    def forget_envelope(self) -> None:
        """Start a new transaction; RFC 5321 section 4.1.1.5."""
        self.has_sender = False
        self.sender: Address | None = None
        self.body = Body.SEVENBIT
        self.recipients: dict[Address, Recipient] = {}

    @property
    def may_log_in(self) -> bool:
        """Whether a login is offered on this connection."""
        return self.house.kind is Kind.SUBMISSION and may_log_in(
            self.client, self.house.login.without_tls, secure=self.secure
        )

    @property
    def longest_line(self) -> int:
        """Octets of the next line, CRLF included."""
        return LONGEST_AUTH if self.house.kind is Kind.SUBMISSION else LONGEST_COMMAND

    def greeting(self) -> Reply:
        """Say who we are; RFC 5321 section 4.3.1."""
        return Reply(220, None, (f"{self.house.hostname} ESMTP mailsvc",))

    async def finish(self, content: IContent) -> Reply:
        """
        Hand the complete message over; the one call down.

        Returns:
            250 after the commit. The envelope is forgotten in any case.
        """
        envelope = self._envelope()
        self.forget_envelope()
        if not self.house.has_room(content.octets):
            raise StorageFull
        receipt = await self.house.intake.accept(envelope, content)
        self.messages += 1
        return Reply(250, STORED, (f"OK, stored as {receipt.queue_id}",))

    def judge(self, reply: Reply) -> Reply:
        """
        Count refusals, and send a client away that has too many.

        A recipient above the limit is no error: the client sends to those that were accepted,
        and the rest later; RFC 5321 section 4.5.3.1.10.
        """
        if reply.refuses and reply is not replies.TOO_MANY_RECIPIENTS:
            self.errors += 1
            if self.errors >= self.house.settings.most_errors:
                return replies.TOO_MANY_ERRORS
        return reply

    def explain(self, error: Exception, doing: str) -> Reply:
        """Turn what went wrong into a reply; what is no ``MailError`` is our fault: 451."""
        if isinstance(error, MailError):
            reply = replies.from_error(error)
        else:
            self._log.failure("{doing} failed", doing=doing)
            reply = replies.OUR_FAULT
        self._log.info(
            "refused {doing} from {client}: {code} {text}",
            doing=doing,
            client=self.client.ip,
            code=reply.code,
            text=reply.lines[0],
        )
        return reply

    def leave(self) -> None:
        """Give back what a login took."""
        if self.logout is not None:
            self.logout()
            self.logout = None

    def _envelope(self) -> Envelope:
        return Envelope(
            client=self.client,
            helo=self.helo,
            # RFC 3848.
            protocol=("ESMTP" if self.secure or self.login is not None else self.protocol)
            + ("S" if self.secure else "")
            + ("A" if self.login is not None else ""),
            login=self.login,
            sender=self.sender,
            recipients=tuple(self.recipients.values()),
            body=self.body,
            received=datetime.now(UTC),
        )
