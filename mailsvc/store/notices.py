"""Messages of our own to owners of mailboxes, as deliveries."""

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Connection, select

from mailsvc.interfaces import IContent
from mailsvc.model.address import parse_address
from mailsvc.model.ids import AccountId, IdSource, MessageId
from mailsvc.model.quota import QuotaNotice, Usage
from mailsvc.model.sending import LimitNotice
from mailsvc.store.accounts import account_by_id, postmaster
from mailsvc.store.delivery import NULL_PATH, Delivery, Target
from mailsvc.store.sending import Reached
from mailsvc.store.tables import account

WriteNotice = Callable[[QuotaNotice | LimitNotice], IContent]
"""Makes the content of a notice; called on a writer's thread."""


def quota_notice(
    conn: Connection, ids: IdSource, write: WriteNotice, target: Target, share: int, usage: Usage
) -> Delivery:
    """
    Tell an owner that the mailbox is nearly full.

    Args:
        target: The mailbox, with its quota.
        share: Percent that are reached.
        usage: What it holds.
    """
    address, language = _owner(conn, target.account)
    now = datetime.now(UTC)
    content = write(
        QuotaNotice(
            owner=parse_address(address, utf8=True),
            language=language,
            share=share,
            usage=usage,
            quota_octets=target.quota_octets,
            quota_messages=target.quota_messages,
            now=now,
        )
    )
    return _delivery(ids, content, target._replace(recipient=address, required=True), now)


def limit_notices(
    conn: Connection, ids: IdSource, write: WriteNotice, reached: Reached
) -> list[Delivery]:
    """Tell the owner, and an administrator, that no more mail leaves today."""
    owner, administrator = account_by_id(conn, reached.account), postmaster(conn)
    if owner is None:
        return []
    told = {to.id: to for to in (owner, administrator) if to is not None}
    notices: list[Delivery] = []
    for to in told.values():
        _, language = _owner(conn, to.id)
        content = write(
            LimitNotice(to.address, owner.address, language, reached.kind, reached.most)
        )
        target = Target(to.id, to.inbox, str(to.address), None, None)
        notices.append(_delivery(ids, content, target, datetime.now(UTC)))
    return notices


def _owner(conn: Connection, number: AccountId) -> tuple[str, str]:
    """Give the address of an account, and its language."""
    row = conn.execute(
        select(account.c.address, account.c.language).where(account.c.id == number)
    ).one()
    return row.address, row.language


def _delivery(ids: IdSource, content: IContent, target: Target, now: datetime) -> Delivery:
    return Delivery(
        message=MessageId(ids.next()),
        trace=NULL_PATH,
        return_path_octets=len(NULL_PATH),
        content=content,
        sender="",
        received=now,
        client_ip="",
        targets=(target,),
        event="notice",
    )
