"""What a login to SMTP gives: the right to send, also as Twisted's ``IMessageDelivery``."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from twisted.internet.defer import Deferred
from twisted.mail import smtp
from zope.interface import implementer

from mailsvc.config.settings import Relay
from mailsvc.delivery.recipients import find_recipient
from mailsvc.errors import MailError
from mailsvc.interfaces import IDirectory, IIntake
from mailsvc.model.account import Account
from mailsvc.model.address import Address, BadAddress, parse_address
from mailsvc.model.envelope import Body, Client, Envelope, Recipient
from mailsvc.policy.relay import check_sender
from mailsvc.spool import Spool, SpoolRoom

Helo = tuple[bytes, bytes]
"""Twisted's picture of a client: the argument of HELO, and the IP address."""


@implementer(smtp.IMessageDelivery)
@dataclass(frozen=True)
class Submission:
    """
    One user who may send mail.

    Our own sessions ask the policy directly. The methods of ``IMessageDelivery`` are for
    protocols written against Twisted's interfaces: they lead to the same intake.

    Args:
        account: Who.
        directory: Finds recipients.
        intake: Takes messages.
        room: Where messages are spooled.
        relay: Tells who may send to other servers.
    """

    account: Account
    directory: IDirectory
    intake: IIntake
    room: SpoolRoom
    relay: Callable[[], Relay] = lambda: Relay.USERS

    def validateFrom(self, helo: Helo, origin: smtp.Address) -> "Deferred[smtp.Address]":
        """Allow the user's own addresses and the null path; fails with ``SMTPBadSender``."""
        del helo
        return Deferred.fromCoroutine(self._validate_from(origin))

    def validateTo(self, user: smtp.User) -> "Deferred[Callable[[], smtp.IMessage]]":
        """Find the recipient; fails with ``SMTPBadRcpt``."""
        return Deferred.fromCoroutine(self._validate_to(user))

    def receivedHeader(
        self, helo: Helo, origin: smtp.Address, recipients: list[smtp.User]
    ) -> bytes:
        """Give nothing: the intake writes the field, once for each message."""
        del helo, origin, recipients
        return b""

    async def _validate_from(self, origin: smtp.Address) -> smtp.Address:
        try:
            if origin.local:
                check_sender(self.account, await self.directory.find(_parse(origin)))
        except (MailError, BadAddress) as error:
            raise smtp.SMTPBadSender(origin, resp=str(error)) from None
        return origin

    async def _validate_to(self, user: smtp.User) -> Callable[[], smtp.IMessage]:
        try:
            address = _parse(user.dest)
            way = await find_recipient(self.directory, address, self.account, 0, self.relay())
        except (MailError, BadAddress) as error:
            raise smtp.SMTPBadRcpt(user.dest, resp=str(error)) from None
        origin = _parse(user.orig) if user.orig.local else None
        helo, ip = user.helo
        envelope = Envelope(
            client=Client(ip.decode("ascii", "replace"), 0),
            helo=helo.decode("ascii", "replace"),
            protocol="ESMTPA",
            login=self.account,
            sender=origin,
            recipients=(Recipient(address, way.accounts, remote=way.remote),),
            body=Body.EIGHTBIT,
            received=datetime.now(UTC),
        )
        return lambda: ArrivingMessage(envelope, self.intake, Spool(self.room))


@implementer(smtp.IMessage)
@dataclass(frozen=True)
class ArrivingMessage:
    """
    A message that comes line by line from one of Twisted's own protocols.

    Args:
        envelope: Its single recipient and the rest.
        intake: Takes it at its end.
        spool: Where it waits until then.
    """

    envelope: Envelope
    intake: IIntake
    spool: Spool

    def lineReceived(self, line: bytes) -> None:
        """Take one line, without its end."""
        if line:
            self.spool.write(line)
        self.spool.write(b"\r\n")

    def eomReceived(self) -> "Deferred[bytes]":
        """Take responsibility; fires after the commit."""
        return Deferred.fromCoroutine(self._accept())

    def connectionLost(self) -> None:
        """Forget the half message."""
        self.spool.close()

    async def _accept(self) -> bytes:
        try:
            receipt = await self.intake.accept(self.envelope, self.spool)
        finally:
            self.spool.close()
        return f"OK, stored as {receipt.queue_id}".encode()


def _parse(address: smtp.Address) -> Address:
    return parse_address(bytes(address).decode("ascii"))
