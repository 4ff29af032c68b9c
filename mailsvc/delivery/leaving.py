"""Which recipients a message leaves for, and as what."""

from datetime import timedelta

from mailsvc.config.settings import Forwarding, OutboundSettings
from mailsvc.model.address import Address
from mailsvc.model.envelope import Envelope, Notify, Recipient
from mailsvc.model.ids import IdSource, MessageId
from mailsvc.model.queued import Queued
from mailsvc.policy.srs import rewrite

_LONGEST = {"identifier": 128, "original": 512}
"""Characters that the queue keeps; RFC 3461 sections 4.2 and 4.4 allow no more."""


def leaving(
    envelope: Envelope,
    message: MessageId,
    ids: IdSource,
    settings: OutboundSettings,
    secret: bytes = b"",
) -> tuple[Queued, ...]:
    """
    List the recipients on other servers, each once.

    Mail that is passed on for a group, or for somebody who gets a copy here, is reported as
    delivered when it is accepted; RFC 3461 section 5.2.7.

    Args:
        ids: Numbers for the rows of the queue.
        settings: How long it is tried, and what becomes of the sender of what is forwarded.
        secret: Signs rewritten senders.
    """
    found: dict[Address, Queued] = {}
    for recipient in envelope.recipients:
        for address in recipient.remote:
            if address not in found:
                sender = _sender(envelope, recipient, address, settings, secret)
                row = _queued(envelope, recipient, address, sender, message, ids, settings)
                found[address] = _with_deadline(envelope, row)
    return tuple(found.values())


def is_passed_on(recipient: Recipient) -> bool:
    """Whether it has exactly one mailbox, which is on another server and reports itself."""
    return len(recipient.remote) == 1 and not recipient.accounts


def _sender(
    envelope: Envelope,
    recipient: Recipient,
    address: Address,
    settings: OutboundSettings,
    secret: bytes,
) -> str:
    """Give the reverse-path: rewritten, where a foreign one is forwarded."""
    sender = envelope.sender
    ours = envelope.login is not None or address == recipient.address
    if sender is None or ours or settings.forwarding is Forwarding.KEEP or not secret:
        return str(sender or "")
    return str(rewrite(sender, recipient.address.domain, secret, envelope.received) or sender)


def _queued(
    envelope: Envelope,
    recipient: Recipient,
    address: Address,
    sender: str,
    message: MessageId,
    ids: IdSource,
    settings: OutboundSettings,
) -> Queued:
    created, notice = envelope.received, settings.delay_notice
    notify = recipient.notify if is_passed_on(recipient) else recipient.notify - {Notify.SUCCESS}
    original = recipient.original
    if not original and address != recipient.address:
        # The sender knows no other; RFC 3461 section 5.2.7.1.
        kind = "rfc822" if recipient.address.ascii else "utf-8"
        original = f"{kind};{recipient.address}"
    return Queued(
        id=ids.next(),
        message=message,
        sender=sender,
        recipient=str(address),
        domain=address.domain,
        attempts=0,
        expires=created + timedelta(seconds=settings.lifetime),
        created=created,
        notify=",".join(sorted(notify)),
        returns="" if envelope.returns is None else envelope.returns.value,
        identifier=envelope.identifier[: _LONGEST["identifier"]],
        original=original[: _LONGEST["original"]],
        require_tls=envelope.require_tls,
        notice_at=None if notice is None else created + timedelta(seconds=notice),
    )


def _with_deadline(envelope: Envelope, row: Queued) -> Queued:
    """Hold to BY; RFC 2852 section 4.1."""
    deadline = envelope.deliver_by
    if deadline is None:
        return row
    if deadline.until >= row.expires:
        return row._replace(deliver_by=deadline)
    if deadline.returns:
        return row._replace(deliver_by=deadline, expires=deadline.until, notice_at=None)
    return row._replace(deliver_by=deadline, notice_at=deadline.until)
