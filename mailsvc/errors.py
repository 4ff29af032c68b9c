"""
Everything that can go wrong, told so that it helps.

``MailError`` is for peers: it carries an enhanced status and a text that shows no path, no
SQL and no other user. ``OperatorError`` is for the person who runs the service: one line
that says what is wrong and what to do.
"""

from mailsvc.model.status import Status


class MailError(Exception):
    """What a peer may be told. The text is safe: no path, no SQL, no other user."""

    status: Status = Status(4, 3, 0)
    text: str = "Our fault; please try again later"

    def __init__(self, text: str | None = None) -> None:
        super().__init__(text or self.text)


class NoSuchMailbox(MailError):
    """No account has this address; RFC 3463 section 3.2."""

    status = Status(5, 1, 1)
    text = "There is no such mailbox here"


class BadMailbox(MailError):
    """The address breaks the grammar; RFC 3463 section 3.2."""

    status = Status(5, 1, 3)
    text = "That is not a mail address"


class SenderDenied(MailError):
    """An administrator's rule refuses the sender; RFC 3463 section 3.8."""

    status = Status(5, 7, 1)
    text = "Mail from this sender is not accepted here"


class RecipientDenied(MailError):
    """An administrator's rule refuses the recipient; RFC 3463 section 3.8."""

    status = Status(5, 7, 1)
    text = "This address takes no mail"


class MailboxDisabled(MailError):
    """The account is switched off; RFC 3463 section 3.3."""

    status = Status(5, 2, 1)
    text = "This mailbox is disabled"


class MailboxFull(MailError):
    """The owner's quota is spent; RFC 3463 section 3.3."""

    status = Status(4, 2, 2)
    text = "This mailbox is full"


class MailboxTooSmall(MailboxFull):
    """The message is larger than the owner's whole quota; RFC 3463 section 3.3."""

    status = Status(5, 2, 2)
    text = "This message is larger than the whole mailbox"


class DomainDisabled(MailError):
    """The domain is ours and switched off; RFC 3463 section 3.3."""

    status = Status(5, 2, 1)
    text = "This domain is disabled"


class MailLoop(MailError):
    """What an administrator has set up leads in a circle; RFC 3463 section 3.5."""

    status = Status(4, 4, 6)
    text = "The mail for this address goes round in a circle; please try again later"


class RelayDenied(MailError):
    """We are not responsible for this domain; RFC 3463 section 3.8."""

    status = Status(5, 7, 1)
    text = "We do not relay: this domain is not ours"


class StorageFailed(MailError):
    """The database did not take it; the client keeps the message."""

    status = Status(4, 3, 0)
    text = "Our storage is not available; please try again later"


class StorageFull(MailError):
    """The disk is full; RFC 3463 section 3.4."""

    status = Status(4, 3, 1)
    text = "Our storage is full; please try again later"


class TooBusy(MailError):
    """More waits than we can do; RFC 3463 section 3.4."""

    status = Status(4, 3, 2)
    text = "We are too busy; please try again later"


class SendingLimitReached(MailError):
    """The user has sent what a day allows; the X.7.28 of the registry of RFC 5248."""

    status = Status(4, 7, 28)
    text = "You have sent as much as you may in a day; try again tomorrow"


class Refused(MailError):
    """A filter's verdict, with its own status."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status = status


class LoginFailed(MailError):
    """Unknown user or wrong password: nobody is told which; RFC 4954 section 6."""

    status = Status(5, 7, 8)
    text = "User name or password is wrong"


class LoginForbidden(MailError):
    """The password is right, but the owner may not use this service."""

    status = Status(5, 7, 0)
    text = "This account may not use this service"


class ChannelBindingFailed(LoginFailed):
    """The TLS connection of the client is not the one that ends here; RFC 5802 section 6."""

    text = "The login is bound to another connection than this one"


class BadResponse(MailError):
    """A response in a login breaks the grammar of its mechanism; RFC 4954 section 4."""

    status = Status(5, 5, 2)
    text = "That is no response of this way to log in"


class NotBase64(BadResponse):
    """A response in a login is not in base64; RFC 4954 section 4, RFC 5034 section 4."""

    text = "That is not base64"


class TooManyFailures(MailError):
    """Too many logins failed lately; no password was looked at; RFC 4954 section 6."""

    status = Status(4, 7, 0)
    text = "Too many failed logins; try again later"


class MaildropInUse(MailError):
    """Another session holds the maildrop; RFC 1939 section 4, RFC 2449 section 8.1.1."""

    status = Status(4, 2, 0)
    text = "Another session has this maildrop open"


class LoginTooSoon(MailError):
    """The user has collected mail a moment ago; RFC 2449 section 8.1.1."""

    status = Status(4, 7, 0)
    text = "You have logged in a moment ago; please come back later"


class OperatorError(Exception):
    """The operator's turn: one line that says what is wrong and what to do."""


class ConfigError(OperatorError):
    """The configuration cannot be used; one line per mistake."""


class StartError(OperatorError):
    """The service cannot start here and now."""


class CommandError(OperatorError):
    """An administrator's command cannot be done; nothing was changed."""


class NotFound(CommandError):
    """What the command names does not exist."""


class AlreadyThere(CommandError):
    """What the command would make exists."""


class NotReachable(OperatorError):
    """The daemon is not running, or does not let us in; nothing was changed."""
