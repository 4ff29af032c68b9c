"""Tell a sender who asked for it that the message was delivered; RFC 3461 section 5.2.3."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mailsvc.delivery.leaving import is_passed_on
from mailsvc.delivery.reports import LARGEST_QUOTE, Action, Fate, Report, write_report
from mailsvc.delivery.routing import target_of
from mailsvc.interfaces import IDirectory
from mailsvc.model.account import Account
from mailsvc.model.address import Address
from mailsvc.model.envelope import Envelope, Notify, Recipient
from mailsvc.model.ids import IdSource, MessageId
from mailsvc.model.status import Status
from mailsvc.store.delivery import NULL_PATH, Delivery

_DELIVERED = Status(2, 0, 0)


@dataclass(frozen=True)
class Reporter:
    """
    Makes reports of success for senders of ours: only they can ask for them.

    Args:
        directory: Finds the sender's mailbox.
        ids: Numbers for reports.
        hostname: Tells our name.
    """

    directory: IDirectory
    ids: IdSource
    hostname: Callable[[], str]

    async def report(self, envelope: Envelope, delivery: Delivery) -> Delivery:
        """
        Add what the sender asked for to a delivery, to be stored in the same transaction.

        A message from the null path gets no report; RFC 3461 section 6.2.

        Raises:
            StorageFailed: The database does not answer.
        """
        asked = [
            one
            for one in envelope.recipients
            if Notify.SUCCESS in one.notify and not is_passed_on(one)
        ]
        sender = envelope.sender
        if not asked or sender is None:
            return delivery
        owner = await self.directory.find(sender)
        if owner is None or not owner.enabled:
            return delivery
        written = self._write(envelope, delivery, asked, sender)
        return delivery._replace(reports=(self._addressed(written, delivery, sender, owner),))

    def _write(
        self, envelope: Envelope, delivery: Delivery, asked: Sequence[Recipient], sender: Address
    ) -> Report:
        trace = delivery.trace[delivery.return_path_octets :]
        return Report(
            hostname=self.hostname(),
            sender=sender,
            identifier=envelope.identifier,
            arrived=envelope.received,
            now=envelope.received,
            fates=[Fate(one.address, _action(one), _DELIVERED, one.original) for one in asked],
            header=trace + delivery.content.head(LARGEST_QUOTE),
        )

    def _addressed(
        self, report: Report, delivery: Delivery, sender: Address, owner: Account
    ) -> Delivery:
        return Delivery(
            message=MessageId(self.ids.next()),
            trace=NULL_PATH,
            return_path_octets=len(NULL_PATH),
            content=write_report(report),
            sender="",
            received=delivery.received,
            client_ip=delivery.client_ip,
            targets=(target_of(sender, owner),),
            event="report",
        )


def _action(recipient: Recipient) -> Action:
    """Tell of a group that it is one; RFC 3461 section 5.2.7.3."""
    alone = len(recipient.accounts) == 1 and not recipient.remote
    return Action.DELIVERED if alone else Action.EXPANDED
