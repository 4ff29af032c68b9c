"""
Take messages out of folders, and later their bodies out of the database.

Removing an entry is quick and belongs to the transaction of its user. Whether anybody else
still refers to the body is looked up afterwards, in small transactions of their own.
"""

from sqlalchemy import ColumnElement, Connection, delete, exists, insert, select, tuple_

from mailsvc.store.portable import portable
from mailsvc.store.tables import broadcast, chunk, entry, message, queue, released

SHRINK = 100
"""Pages that an SQLite file gives back in one transaction."""
PURGE = 250
"""Bodies looked at in one transaction: 40 ms at the most, so that nobody waits for it."""


def release_entries(conn: Connection, which: ColumnElement[bool]) -> None:
    """Remove the entries that match, and put their bodies down for the purge."""
    conn.execute(
        insert(released).from_select(
            ["folder_id", "uid", "message_id"],
            select(entry.c.folder_id, entry.c.uid, entry.c.message_id).where(which),
        )
    )
    conn.execute(delete(entry).where(which))


@portable
def purge_bodies(conn: Connection, most: int = PURGE) -> int:
    """
    Remove bodies that nobody refers to any more.

    Returns:
        How many released entries were dealt with; fewer than *most*: nothing is left.
    """
    rows = conn.execute(
        select(released.c.folder_id, released.c.uid, released.c.message_id).limit(most)
    ).all()
    if not rows:
        return 0
    candidates = sorted({row.message_id for row in rows})
    unused = conn.scalars(
        select(message.c.id).where(
            message.c.id.in_(candidates),
            ~exists().where(entry.c.message_id == message.c.id),
            ~exists().where(queue.c.message_id == message.c.id),
            ~exists().where(broadcast.c.message_id == message.c.id),
        )
    ).all()
    if unused:
        conn.execute(delete(chunk).where(chunk.c.message_id.in_(unused)))
        conn.execute(delete(message).where(message.c.id.in_(unused)))
    keys = [(row.folder_id, row.uid) for row in rows]
    conn.execute(delete(released).where(tuple_(released.c.folder_id, released.c.uid).in_(keys)))
    return len(rows)


def shrink_file(conn: Connection, most: int = SHRINK) -> int:
    """
    Give free pages of an SQLite file back to the disk; other engines look after themselves.

    Returns:
        How many pages were free before; fewer than *most*: none is left.
    """
    if conn.dialect.name != "sqlite":
        return 0
    free = int(conn.exec_driver_sql("PRAGMA freelist_count").scalar() or 0)
    if free:
        # Each step of the statement frees one page, so it must be read to its end.
        cursor = conn.connection.cursor()
        cursor.execute(f"PRAGMA incremental_vacuum({most})")
        cursor.fetchall()
        cursor.close()
    return free


def empty_log(conn: Connection) -> None:
    """Move SQLite's write-ahead log into the file and cut both to what they need."""
    if conn.dialect.name == "sqlite":
        conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
