"""What a message of one of our users must say of itself, and what we add; RFC 6409 section 8."""

import secrets
from dataclasses import dataclass
from email.header import Header

from mailsvc.config.settings import ForeignFrom
from mailsvc.delivery.trace import date
from mailsvc.errors import MailError
from mailsvc.interfaces import IDirectory
from mailsvc.model.account import Account
from mailsvc.model.address import Address
from mailsvc.model.envelope import Envelope
from mailsvc.model.headers import LARGEST_HEADER, Headers
from mailsvc.model.mailboxes import BadMailboxes, Mailbox, parse_mailboxes, quoted_name
from mailsvc.model.status import Status


class ForeignAuthor(MailError):
    """From: or Sender: is the address of somebody else; RFC 6409 section 6.1."""

    status = Status(5, 7, 1)


class BadHeader(MailError):
    """The header does not tell who the author is; RFC 6409 section 6.3."""

    status = Status(5, 6, 0)


@dataclass
class SubmissionRules:
    """
    What is asked of every message that comes with a login.

    Args:
        directory: Knows whose an address is.
        foreign_from: What becomes of a From: that is not the user's; may be replaced.
    """

    directory: IDirectory
    foreign_from: ForeignFrom = ForeignFrom.REFUSE

    async def complete(self, envelope: Envelope, headers: Headers) -> bytes:
        """
        Check who the author is, and make the fields that are missing.

        Mail without a login is not looked at.

        Args:
            envelope: Tells the login and the time.
            headers: Of the message, as it came.

        Returns:
            ``From``, ``Date`` and ``Message-ID``, those that are missing; for the trace.

        Raises:
            ForeignAuthor: An address in From: or Sender: is not the user's.
            BadHeader: From: or Sender: is there twice or cannot be read.
            StorageFailed: The database does not answer.
        """
        login = envelope.login
        if login is None:
            return b""
        has_from = await self._check(login, headers, "From")
        await self._check(login, headers, "Sender")
        added = [] if has_from else [_author(login)]
        if headers.first(b"date") is None:
            added.append(f"Date: {date(envelope.received)}\r\n")
        if headers.first(b"message-id") is None:
            added.append(f"Message-ID: {new_message_id(login.address.domain)}\r\n")
        return "".join(added).encode()

    async def _check(self, login: Account, headers: Headers, field: str) -> bool:
        """Check one field; tells whether it is there."""
        values = headers.every(field.lower().encode())
        _refuse_hidden(headers, field, len(values))
        if not values:
            return False
        for mailbox in _read(field, values[0]):
            if self.foreign_from is ForeignFrom.REFUSE:
                await self._check_owner(login, mailbox.address, field)
        return True

    async def _check_owner(self, login: Account, address: Address, field: str) -> None:
        if address.key == login.address.key:
            return
        local = await self.directory.is_local(address.domain)
        owner = await self.directory.find(address) if local else None
        if owner is None or owner.id != login.id:
            raise ForeignAuthor(
                f"{field}: holds <{address}>, which is not an address of the account that is"
                " logged in; you may send under your own addresses only"
            )


def author_domain(headers: Headers) -> str:
    """Give the domain of the first author; empty: there is none that can be read."""
    found = headers.first(b"from")
    if found is None:
        return ""
    try:
        return parse_mailboxes(found.decode("utf-8", "replace"))[0].address.domain
    except BadMailboxes:
        return ""


def new_message_id(domain: str) -> str:
    """Make a Message-ID that nobody has; RFC 5322 section 3.6.4."""
    return f"<{secrets.token_hex(16)}@{domain}>"


def _refuse_hidden(headers: Headers, field: str, found: int) -> None:
    """Refuse a field that is there twice, or that stands where some readers do not look."""
    if found > 1:
        raise BadHeader(f"There is more than one {field}: field; RFC 5322 section 3.6 allows one")
    if headers.whole:
        return
    if len(headers.section) >= LARGEST_HEADER:
        raise BadHeader("The header section is too large to be checked")
    if headers.count(field.lower().encode()) != found:
        raise BadHeader(f"Before {field}: there is a line that is no header field")


def _read(field: str, value: bytes) -> tuple[Mailbox, ...]:
    try:
        return parse_mailboxes(value.decode("utf-8", "replace"))
    except BadMailboxes as error:
        raise BadHeader(f"{field}: cannot be read (RFC 5322 section 3.6.2): {error}") from None


def _author(login: Account) -> str:
    """Write From: with the name of the account, encoded where it is not ASCII; RFC 2047."""
    name = login.display_name
    if not name:
        return f"From: {login.address}\r\n"
    if not name.isascii():
        encoded = Header(name, "utf-8", header_name="From").encode(linesep="\r\n")
        return f"From: {encoded}\r\n <{login.address}>\r\n"
    return f"From: {quoted_name(name)}\r\n <{login.address}>\r\n"
