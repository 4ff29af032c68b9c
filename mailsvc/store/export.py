"""All mail of an account, for whoever saves it."""

from sqlalchemy import Connection, and_, or_, select

from mailsvc.errors import NotFound
from mailsvc.model.address import Address
from mailsvc.model.export import StoredMail
from mailsvc.model.ids import MessageId
from mailsvc.store.tables import account, chunk, entry, folder, message


def list_mail(conn: Connection, address: Address, after: str, most: int) -> list[StoredMail]:
    """
    List the messages of all folders of an account, folder by folder, a page at a time.

    Args:
        after: The cursor of the last one of the page before; empty: from the start.
        most: The size of a page.

    Raises:
        NotFound: There is no such account.
    """
    owner = conn.scalar(select(account.c.id).where(account.c.address_key == address.key))
    if owner is None:
        raise NotFound(f"there is no account {address}")
    number, uid = (int(part) for part in (after or "0/0").split("/"))
    behind = or_(folder.c.id > number, and_(folder.c.id == number, entry.c.uid > uid))
    rows = conn.execute(
        select(
            folder.c.id,
            folder.c.name,
            entry.c.uid,
            entry.c.message_id,
            entry.c.octets,
            entry.c.received,
            message.c.sender,
        )
        .join(entry, entry.c.folder_id == folder.c.id)
        .join(message, message.c.id == entry.c.message_id)
        .where(folder.c.account_id == owner, behind)
        .order_by(folder.c.id, entry.c.uid)
        .limit(most)
    )
    return [
        StoredMail(
            cursor=f"{row.id}/{row.uid}",
            folder=row.name,
            message=MessageId(row.message_id),
            octets=row.octets,
            received=row.received,
            sender=row.sender,
        )
        for row in rows
    ]


def read_piece(
    conn: Connection, number: MessageId, part: int, offset: int, most: int
) -> bytes | None:
    """
    Read some octets of a message.

    Args:
        part: Of the parts that the database has it in, counted from 0.
        offset: Where to begin in that part.
        most: Octets.

    Returns:
        Empty at the end of the part; None: there is no such part.
    """
    body: bytes | None = None
    if part == 0:
        body = conn.scalar(select(message.c.body).where(message.c.id == number))
    if body is None:
        body = conn.scalar(
            select(chunk.c.body).where(chunk.c.message_id == number, chunk.c.number == part)
        )
    return None if body is None else bytes(body[offset : offset + most])
